# Two images from one file: `step` is what a pod runs (no Airflow), `airflow` is what the services run.
FROM python:3.11-slim-bookworm AS locked
COPY bootstrap.lock /build/
RUN pip install --no-cache-dir --require-hashes -r /build/bootstrap.lock
WORKDIR /build
COPY pyproject.toml README.md requirements.lock ./
COPY pipelines pipelines
RUN uv build --wheel --out-dir /build/dist

FROM locked AS step-environment
RUN uv venv /opt/airworthy \
 && uv pip compile --quiet pyproject.toml --python-version 3.11 --constraint requirements.lock --generate-hashes -o step.lock \
 && uv pip sync --python /opt/airworthy/bin/python --compile-bytecode --require-hashes step.lock \
 && uv pip install --python /opt/airworthy/bin/python --no-deps --compile-bytecode dist/*.whl

FROM locked AS airflow-environment
RUN uv venv /opt/airworthy \
 && uv pip sync --python /opt/airworthy/bin/python --compile-bytecode --require-hashes requirements.lock \
 && uv pip install --python /opt/airworthy/bin/python --no-deps --compile-bytecode dist/*.whl

FROM python:3.11-slim-bookworm AS step
RUN useradd --uid 50000 --create-home airworthy
COPY --from=step-environment /opt/airworthy /opt/airworthy
COPY include /opt/include
ENV PATH=/opt/airworthy/bin:$PATH AIRWORTHY_INCLUDE=/opt/include AIRWORTHY_HOME=/home/airworthy/var
USER 50000
WORKDIR /home/airworthy
ENTRYPOINT ["python", "-m", "pipelines"]

FROM python:3.11-slim-bookworm AS airflow
RUN useradd --uid 50000 --create-home airworthy
COPY --from=airflow-environment /opt/airworthy /opt/airworthy
COPY include /opt/include
COPY dags /opt/dags
COPY plugins /opt/plugins
ENV PATH=/opt/airworthy/bin:$PATH AIRWORTHY_INCLUDE=/opt/include AIRWORTHY_HOME=/home/airworthy/var \
    AIRFLOW_HOME=/home/airworthy/airflow AIRFLOW__CORE__DAGS_FOLDER=/opt/dags AIRFLOW__CORE__PLUGINS_FOLDER=/opt/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
USER 50000
WORKDIR /home/airworthy
CMD ["airflow", "version"]
