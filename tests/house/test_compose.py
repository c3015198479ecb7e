"""The grown-up stack is described completely: every service is watched, pinned, and holds no secret."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import REPOSITORY

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"bucket", "ledger", "migrate"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_every_lasting_service_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned_to_a_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")
    assert tag not in {"", "latest"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_dependency_exists_and_says_what_it_waits_for(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        finishes = condition["condition"] == "service_completed_successfully"
        assert finishes == (other in ONE_SHOT)


def test_no_secret_is_written_in_the_file() -> None:
    secret = re.compile(r"(password|secret|access_key|fernet_key)\w*:\s+(?P<value>\S+)", re.IGNORECASE)
    text = re.sub(r"#.*", "", (REPOSITORY / "docker-compose.yml").read_text())
    for match in secret.finditer(text):
        value = match["value"]
        assert value.startswith(("${", "/", "postgresql")), f"{match[0]} looks like a secret"
    for url in re.findall(r"postgresql\+\w+://\S+", text):
        assert re.search(r":\$\{\w+_PASSWORD:", url), url


SECRETS = {
    "postgres": {"POSTGRES", "AIRFLOW_DB", "MLFLOW_DB", "LEDGER_OWNER", "LEDGER_DB"},
    "s3": {"S3"},
    "bucket": {"S3"},
    "migrate": {"AIRFLOW_DB"},
    "ledger": {"S3", "LEDGER_OWNER"},
    "mlflow": {"S3", "MLFLOW_DB", "REGISTRY", "REGISTRY_SESSION"},
    "gateway": {"S3", "GATEWAY"},
}
AIRFLOW_SECRETS = {
    "S3",
    "LEDGER_DB",
    "GATEWAY",
    "REGISTRY",
    "AIRFLOW_FERNET",
    "AIRFLOW_DB",
    "AIRFLOW_API",
    "AIRFLOW_JWT",
}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_gets_the_secrets_that_it_needs_and_no_other(name: str) -> None:
    text = yaml.safe_dump(SERVICES[name])
    kinds = r"_(PASSWORD|ACCESS_KEY|SECRET_KEY|TOKEN|KEY|SECRET)$"
    named = {re.sub(kinds, "", secret) for secret in re.findall(r"\$\{(\w+)", text)}
    assert named == SECRETS.get(name, AIRFLOW_SECRETS)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_secret_is_an_argument_of_a_process(name: str) -> None:
    assert "${" not in str(SERVICES[name].get("command"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_drops_every_capability_and_our_own_write_to_volumes_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    if service["image"].startswith("airworthy/"):
        assert service["read_only"] is True
        assert "cap_add" not in service


def test_only_services_with_a_port_reach_beyond_the_stack() -> None:
    beyond = {name for name, network in COMPOSE["networks"].items() if not (network or {}).get("internal")}
    assert beyond == {"published"}
    for name, service in SERVICES.items():
        assert service["networks"], f"{name} would be on the default network"
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        assert bool(service.get("ports")) == ("published" in service["networks"]), name


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_shares_a_network_with_whatever_it_calls(name: str) -> None:
    text = yaml.safe_dump({key: SERVICES[name].get(key) for key in ("environment", "command")})
    for other in set(re.findall(r"(?://|@)(postgres|s3|mlflow|gateway|api-server)\b", text)) - {name}:
        assert set(SERVICES[name]["networks"]) & set(SERVICES[other]["networks"]), other


def test_published_ports_listen_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (REPOSITORY / source).exists(), source


def test_every_secret_asked_for_is_drawn_by_make_secrets() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", (REPOSITORY / "docker-compose.yml").read_text()))
    recipe = (REPOSITORY / "Makefile").read_text()
    assert wanted == {name for name in wanted if name in recipe}


def test_the_step_image_holds_no_airflow_and_does_not_run_as_root() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    stage = text.split(" AS step\n")[1].split("FROM ")[0]
    assert "airflow-environment" not in stage
    assert re.search(r"^USER (?!0\b|root\b)\S+", stage, re.MULTILINE)


def test_the_lock_file_names_no_address() -> None:
    for lock in ("requirements.lock", "step.lock", "demo.lock", "bootstrap.lock"):
        assert "://" not in Path(REPOSITORY / lock).read_text()


def locked(name: str) -> dict[str, set[str]]:
    """Package with version, and its hashes."""
    entries = re.split(r"^(?=\S)", (REPOSITORY / name).read_text(), flags=re.MULTILINE)
    return {entry.split()[0]: set(re.findall(r"sha256:\w{64}", entry)) for entry in entries if entry.strip()}


def test_a_step_installs_part_of_what_is_locked_with_the_same_hashes() -> None:
    everything, step = locked("requirements.lock"), locked("step.lock")
    assert 100 < len(step) < len(everything)
    assert {name: everything.get(name) for name in step} == step
    assert not [name for name in step if name.startswith("apache-airflow")]
    assert "--generate-hashes" not in (REPOSITORY / "Dockerfile").read_text()


def test_images_are_built_from_a_base_that_is_named_by_its_digest() -> None:
    command = ["make", "--no-print-directory", "images", "BUILDER=true", "REVISION=test"]
    refused = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)
    assert refused.returncode != 0
    assert "PYTHON_IMAGE names no digest" in refused.stdout
    base = f"PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:{'a' * 64}"
    subprocess.run([*command, base], cwd=REPOSITORY, capture_output=True, timeout=180, check=True)
