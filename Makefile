# Two commands do everything: `make demo` and `make test`. The rest is for people who stay.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Images: REGISTRY=registry.example/team TAG=… make images push; IMAGE_ARGS and PUSH_ARGS go to docker or buildah.
REGISTRY ?= airworthy
REVISION = $(shell git describe --always --abbrev=40 '--exclude=*' --dirty 2>/dev/null || echo unknown)
TAG ?= $(REVISION)
BUILDER ?= $(shell if docker info >/dev/null 2>&1; then echo docker; else echo buildah; fi)
TARGETS ?= step airflow
KNOWN = --exclude-lines 'ecretName:|"secret_key",|AKIATESTTESTTESTTEST'
INVENTED = --disable-plugin KeywordDetector --disable-plugin BasicAuthDetector \
  --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString
FAST = tests/house tests/rules tests/spec tests/statistics tests/rollout tests/ledger tests/docs

.PHONY: help setup demo stop status house clean test test-fast static lint no-secrets spelling forms types imports unit coverage docs test-kubernetes \
  test-lives kind mutants fuzz soak audit scan-code scan bench bench-full bench-serving calibrate lock schemas pictures secrets images push

help:  ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

setup: $(READY)  ## Install everything from the lock file into .venv

$(READY): requirements.lock bootstrap.lock demo.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; on Debian: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks venv; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing the locked environment into $(VENV) (about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode bootstrap.lock requirements.lock demo.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## Land real flights and drive a model's whole life through Airflow; the stack stays up
	@$(BIN)/airworthy demo

stop: $(READY)  ## Stop the embedded stack
	@$(BIN)/airworthy stop

status: $(READY)  ## Say what is ingested, trained, live and drifting
	@$(BIN)/airworthy status

clean: $(READY)  ## Stop the stack and forget all it wrote (var/)
	@$(BIN)/airworthy stop
	@rm -rf var

##@ Change

test: static unit  ## Lint, types, import rules and all tests

test-fast: static  ## The same within two minutes, with the tests that start nothing
	@env -u KUBECONFIG -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -n 2 --dist loadfile $(FAST)

# Types take one core as long as all the rest takes another.
static: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync types lint imports

lint: $(READY) spelling forms no-secrets  ## Formatting, lint, spelling, large files, secrets, workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@git ls-files -z | xargs -0 $(BIN)/check-added-large-files --enforce-all --maxkb=1024

# Tests are full of invented passwords and digests: there only what has the form of a real key counts.
no-secrets: $(READY)
	@git ls-files -z ':!*.lock' ':!tests' | xargs -0 $(BIN)/detect-secrets-hook $(KNOWN)
	@git ls-files -z tests | xargs -0 $(BIN)/detect-secrets-hook $(KNOWN) $(INVENTED)

spelling: $(READY)
	@git ls-files -z | xargs -0 $(BIN)/codespell

forms: $(READY)
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml >/dev/null
	@$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml >/dev/null
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml >/dev/null
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml >/dev/null
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml >/dev/null

types: $(READY)  ## Check the types of the product, strictly
	@$(BIN)/mypy

imports: $(READY)  ## Check that imports run one way
	@PYTHONPATH=plugins $(BIN)/lint-imports --no-logo

# A worker more than cores: those of the stacks' tests wait half of the time. Hundreds of processes import the same code,
# which is compiled once, whatever the environment says.
unit: $(READY)  ## All tests
	@env -u KUBECONFIG -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

coverage:  ## The same with coverage: at least 80 % of lines and branches; takes half as long again
	@$(MAKE) --no-print-directory unit PYTEST_ARGS="--cov --cov-report=term:skip-covered --cov-fail-under=80"

docs: $(READY)  ## Check every command line, link, file name and YAML example of the pages
	@$(BIN)/python -m pytest -q tests/docs

test-kubernetes: $(READY)  ## Run the tests that need a cluster, on the one of KUBECONFIG
	@test -n "$$KUBECONFIG" || { echo "no cluster: set KUBECONFIG to the kubeconfig of one whose node is this machine, or make kind"; exit 1; }
	@case "$$KUBECONFIG" in */var/kind.kubeconfig) export AIRWORTHY_TEST_ADDRESS=$$(cat var/kind.address);; esac; \
	  $(BIN)/python -m pytest -m kubernetes --durations=5

test-calendars: $(READY)  ## Run the tests of weeks, months, half hours and tables without dates under a real scheduler
	@AIRWORTHY_TEST_CALENDARS=1 $(BIN)/python -m pytest tests/e2e/test_calendars.py

test-canary: $(READY)  ## Run a slow and an equal candidate as live canaries by the shipped plan, for five minutes, and print what was counted
	@AIRWORTHY_TEST_CANARY=1 $(BIN)/python -m pytest -q -s tests/serving/test_live_canary.py

test-lives: $(READY)  ## Run the tests of a model of customers and one of a table without dates under a real scheduler
	@AIRWORTHY_TEST_LIVES=1 $(BIN)/python -m pytest tests/e2e/test_other_lives.py

kind: $(READY)  ## Start a cluster for these tests in a container, with kind and docker
	@command -v kind >/dev/null && docker info >/dev/null 2>&1 || { echo "kind or a docker engine is missing; any cluster whose node is this machine will do"; exit 1; }
	@mkdir -p var
	@sed -e "s|\$${WORKSPACE}|$(CURDIR)|" -e "s|\$${PYTHON_HOME}|$$($(BIN)/python -c 'import sys; print(sys.base_prefix)')|" \
	  .github/kind.yaml > var/kind.yaml
	@kind create cluster --config var/kind.yaml --kubeconfig var/kind.kubeconfig --wait 120s
	@docker network inspect kind --format '{{range .IPAM.Config}}{{.Gateway}} {{end}}' | tr ' ' '\n' | grep -m1 '\.' > var/kind.address

mutants: $(READY)  ## Change rules, rollouts, statistics and ledger in small ways: the tests have to notice
	@$(BIN)/python -m tests.mutants

fuzz: $(READY)  ## Send 200,000 requests, most of them broken, to both listeners of a gateway; ten minutes at most
	@$(BIN)/python -W ignore -m tests.fuzz $(FUZZ_ARGS)

soak: $(READY)  ## Let 2,000 connections do their worst to a gateway, and hold its memory against the stated bound
	@$(BIN)/python -W ignore -m tests.fuzz.soak

house: $(READY)  ## Print the tree of the code, a line a folder
	@$(BIN)/python -m tests.house.tree

##@ Measure

bench: $(READY)  ## Print measurements as JSON lines
	@$(BIN)/python -m tests.bench

bench-full: $(READY)  ## The same, with the year and the million rows
	@$(BIN)/python -m tests.bench --full

calibrate: $(READY)  ## Measure how often each verdict is wrong, by simulation; the table goes into docs/statistics.md
	@$(BIN)/python -m tests.calibration --write

bench-serving: $(READY)  ## The gateway beside MLflow's server, and what a mirror and all checks cost
	@$(BIN)/python -W ignore -m tests.bench.bench_serving

##@ Maintain

audit: $(READY)  ## Look the locked packages up among known vulnerabilities; fails where no index of them answers
	@mkdir -p var && $(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off \
	  >var/audit.txt 2>&1; ended=$$?; grep -v 'could not be audited' var/audit.txt; \
	  unknown=$$(grep -c 'could not be audited' var/audit.txt); locked=$$(grep -c '^[a-z0-9].*==' requirements.lock); \
	  echo "$$((locked - unknown)) of $$locked locked packages were looked up"; \
	  test $$((2 * unknown)) -lt $$locked || { echo "no index of vulnerabilities answers here: nothing is proved; run it where one does"; exit 1; }; \
	  exit $$ended

scan-code: $(READY)  ## Look for dangerous calls in the code (bandit), and for faults of Dockerfile and manifests (trivy)
	@$(BIN)/bandit --quiet --recursive --severity-level medium --confidence-level medium pipelines plugins dags
	@if command -v trivy >/dev/null; then trivy config --exit-code 1 --severity HIGH,CRITICAL Dockerfile && \
	  trivy config --exit-code 1 --severity HIGH,CRITICAL deploy/kubernetes && trivy config --exit-code 1 --severity HIGH,CRITICAL docker-compose.yml; \
	  else echo "trivy is not installed: Dockerfile and manifests are checked by tests/house alone"; fi

lock: $(READY)  ## Resolve the lock files anew: of everything, of what a step needs, and of the data of the demo
	@$(BIN)/uv pip compile --quiet pyproject.toml --all-extras --python-version 3.11 --python-platform linux --generate-hashes --no-header --no-annotate --upgrade --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet pyproject.toml --constraint requirements.lock --python-version 3.11 --python-platform linux --generate-hashes --no-header --no-annotate --output-file step.lock
	@$(BIN)/uv pip compile --quiet --group pyproject.toml:demo --no-deps --python-version 3.11 --python-platform linux --generate-hashes --no-header --no-annotate --output-file demo.lock

schemas: $(READY)  ## Write the JSON schemas that editors read
	@$(BIN)/python -m pipelines.spec.schemas

pictures: $(READY)  ## Take the pictures of the documentation anew, from the stack that make demo leaves running
	@$(BIN)/python -m tests.pictures $(PICTURES)

secrets:  ## Draw the secrets of the docker-compose stack into .env, once
	@test -e .env && echo ".env is there already" || (umask 077 && python3 -c "import base64, os, secrets; \
	print('\n'.join(f'{name}={secrets.token_urlsafe(24)}' for name in ('POSTGRES_PASSWORD', 'AIRFLOW_DB_PASSWORD', 'MLFLOW_DB_PASSWORD', 'LEDGER_OWNER_PASSWORD', 'LEDGER_DB_PASSWORD', 'S3_ACCESS_KEY', 'S3_SECRET_KEY', 'AIRFLOW_API_SECRET', 'GATEWAY_TOKEN', 'REGISTRY_PASSWORD', 'REGISTRY_SESSION_KEY'))); \
	print('AIRFLOW_JWT_SECRET=' + secrets.token_urlsafe(64)); \
	print('AIRFLOW_FERNET_KEY=' + base64.urlsafe_b64encode(os.urandom(32)).decode())" > .env && echo "drew secrets into .env")

##@ Ship

images:  ## Build the images of steps and of Airflow, with docker or buildah
	@command -v $(BUILDER) >/dev/null || { echo "neither a docker engine nor buildah is there; on Debian: apt-get install buildah"; exit 1; }
	@echo "$(PYTHON_IMAGE)" | grep -Eq '@sha256:[0-9a-f]{64}$$' || { \
	  echo "PYTHON_IMAGE names no digest; look it up (docker buildx imagetools inspect python:3.11-slim-bookworm) and give"; \
	  echo "PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:… to make, so that nobody can exchange the base of the images"; exit 1; }
	@for target in $(TARGETS); do \
	  echo "Building $(REGISTRY)/$$target:$(TAG) with $(BUILDER) ..."; \
	  $(BUILDER) $(if $(filter buildah,$(BUILDER)),bud --layers,build) --quiet --target $$target \
	    --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --build-arg AIRWORTHY_GIT_REVISION=$(REVISION) $(IMAGE_ARGS) --tag $(REGISTRY)/$$target:$(TAG) . || exit 1; \
	done

push:  ## Push them to REGISTRY and print their names by digest
	@for target in $(TARGETS); do \
	  image=$(REGISTRY)/$$target; \
	  if [ $(BUILDER) = buildah ]; then \
	    file=$$(mktemp) && buildah push --quiet $(PUSH_ARGS) --digestfile $$file $$image:$(TAG) docker://$$image:$(TAG) \
	      && digest=$$(cat $$file) && rm $$file || exit 1; \
	  else \
	    digest=$$(docker push $(PUSH_ARGS) $$image:$(TAG) | sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p'); \
	    test -n "$$digest" || exit 1; \
	  fi; \
	  echo "$$image@$$digest"; \
	done

scan:  ## Look the images up among known vulnerabilities, with trivy
	@command -v trivy >/dev/null || { echo "trivy is not installed: the images are not scanned"; exit 1; }
	@for target in $(TARGETS); do \
	  trivy image --exit-code 1 --severity HIGH,CRITICAL --ignore-unfixed $(REGISTRY)/$$target:$(TAG) || exit 1; \
	done
