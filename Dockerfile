# Two images from one file: `step` is what a pod runs (no Airflow), `airflow` is what the services run.
# Dependencies and code are layers of their own, so that a change of code sends a megabyte to the registry and the nodes.
# `make images` passes it with its digest: PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS builder
# For a mirror of PyPI and its certificate; none of it stays in an image.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE
COPY bootstrap.lock /build/
RUN pip install --no-cache-dir --require-hashes -r /build/bootstrap.lock
WORKDIR /build
RUN uv venv --quiet /opt/airworthy
COPY pyproject.toml requirements.lock step.lock demo.lock ./

FROM builder AS step-environment
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE
RUN uv pip sync --python /opt/airworthy/bin/python --no-cache --compile-bytecode --require-hashes step.lock

FROM builder AS airflow-environment
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE
RUN uv pip sync --python /opt/airworthy/bin/python --no-cache --compile-bytecode --require-hashes requirements.lock demo.lock

FROM builder AS code
ARG UV_DEFAULT_INDEX
ARG SSL_CERT_FILE
COPY README.md ./
COPY pipelines pipelines
RUN uv build --quiet --wheel --out-dir dist \
 && uv pip install --python /opt/airworthy/bin/python --prefix /code --no-deps --compile-bytecode dist/*.whl

# The base image comes without the standard library's bytecode, and a pod that may not write would compile it each time.
FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --uid 50000 --create-home airworthy \
 && python -m compileall -qq -x 'site-packages|dist-packages|/test/' "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/airworthy/bin:$PATH AIRWORTHY_INCLUDE=/opt/include AIRWORTHY_HOME=/home/airworthy/var PYTHONUNBUFFERED=1
WORKDIR /home/airworthy

FROM runtime AS step
COPY --from=step-environment /opt/airworthy /opt/airworthy
COPY --from=code /code /opt/airworthy
COPY include /opt/include
ARG AIRWORTHY_GIT_REVISION
ENV AIRWORTHY_GIT_REVISION=$AIRWORTHY_GIT_REVISION
USER 50000
ENTRYPOINT ["python", "-m", "pipelines"]

FROM runtime AS airflow
COPY --from=airflow-environment /opt/airworthy /opt/airworthy
COPY --from=code /code /opt/airworthy
COPY include /opt/include
COPY dags /opt/dags
COPY plugins /opt/plugins
ENV AIRFLOW_HOME=/home/airworthy/airflow AIRFLOW__CORE__DAGS_FOLDER=/opt/dags AIRFLOW__CORE__PLUGINS_FOLDER=/opt/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False PYTHONWARNINGS=ignore:GitWildMatchPattern:DeprecationWarning
ARG AIRWORTHY_GIT_REVISION
ENV AIRWORTHY_GIT_REVISION=$AIRWORTHY_GIT_REVISION
USER 50000
# A new volume mounted here takes over this owner; it would be root's otherwise.
RUN mkdir -p airflow/logs airflow/passwords gateway mlflow
CMD ["airflow", "version"]
