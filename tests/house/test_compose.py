"""The grown-up stack is described completely: every service is watched, pinned, and holds no secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import REPOSITORY

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"bucket", "migrate"}


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
        assert "${POSTGRES_PASSWORD" in url


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
    for lock in ("requirements.lock", "bootstrap.lock"):
        assert "://" not in Path(REPOSITORY / lock).read_text()
