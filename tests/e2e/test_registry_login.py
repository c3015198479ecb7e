"""The embedded registry as it is started: nobody gets in without a log-in, and people cannot write."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from pipelines.cli import stack
from pipelines.cli.components import components
from pipelines.cli.reader import READER, set_password
from pipelines.errors import Refused
from pipelines.mlflow_client import REGISTRY_USER, open_client, registry_login
from pipelines.settings import Settings
from pipelines.wiring import open_ports

pytestmark = pytest.mark.e2e

MODEL = "flight_delay"
WRITES = {
    "registered-models/create": {"name": "other"},
    "model-versions/create": {"name": MODEL, "source": "models:/evil"},
    "model-versions/set-tag": {"name": MODEL, "version": "1", "key": "airworthy.status", "value": "approved"},
    "registered-models/alias": {"name": MODEL, "alias": "champion", "version": "1"},
    "experiments/create": {"name": "other"},
    "users/create": {"username": "mallory", "password": "a long password"},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An installation whose registry runs and holds one version of a model."""
    home = tmp_path_factory.mktemp("registry")
    made = Settings.from_environment({"AIRWORTHY_HOME": str(home)})
    mlflow = next(component for component in components(made) if component.name == "mlflow")
    made = Settings.from_environment({"AIRWORTHY_HOME": str(home)})  # with the ports that were chosen
    try:
        stack.start(made, Console(quiet=True), [mlflow])
        open_ports(made)
        client = open_client(made.tracking)
        client.create_registered_model(MODEL)
        logged = client.create_logged_model(client.create_experiment(MODEL), name=MODEL)
        client.log_model_artifacts(logged.model_id, str(made.include / "schemas"))  # any files
        client.finalize_logged_model(logged.model_id, "READY")
        client.create_model_version(MODEL, logged.model_uri, model_id=logged.model_id, await_creation_for=None)
        yield made
    finally:
        stack.stop(made)


def post(settings: Settings, path: str, login: tuple[str, str] | None) -> int:
    address = f"{settings.tracking}/api/2.0/mlflow/{path}"
    return httpx.post(address, json=WRITES[path], auth=login, timeout=30).status_code


def reader(settings: Settings) -> tuple[str, str]:
    return READER, settings.registry_reader_file.read_text()


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize("login", [None, (REGISTRY_USER, "guess")])
def test_nobody_writes_without_the_password(settings: Settings, path: str, login: tuple[str, str] | None) -> None:
    assert post(settings, path, login) == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize(
    "path", ["registered-models/search", "model-versions/search", "experiments/search?max_results=5", "users/list"]
)
def test_nobody_reads_without_a_log_in(settings: Settings, path: str) -> None:
    assert httpx.get(f"{settings.tracking}/api/2.0/mlflow/{path}").status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(f"{settings.tracking}/").status_code == httpx.codes.UNAUTHORIZED


def test_a_reader_sees_the_pages_and_every_version(settings: Settings) -> None:
    assert httpx.get(f"{settings.tracking}/", auth=reader(settings)).status_code == httpx.codes.OK
    found = httpx.get(f"{settings.tracking}/api/2.0/mlflow/model-versions/search", auth=reader(settings)).json()
    assert [version["name"] for version in found["model_versions"]] == [MODEL]


@pytest.mark.parametrize(
    "path", ["model-versions/create", "model-versions/set-tag", "registered-models/alias", "users/create"]
)
def test_a_reader_changes_no_model_and_makes_no_user(settings: Settings, path: str) -> None:
    assert post(settings, path, reader(settings)) == httpx.codes.FORBIDDEN
    [version] = open_ports(settings).registry.versions(MODEL)
    assert (version.version, version.tags, version.aliases) == ("1", {}, ())


def test_a_person_gets_a_log_in_and_another_password_when_asked_again(settings: Settings) -> None:
    for password in ("first password", "second password"):
        set_password(settings.tracking, registry_login(settings.tracking), "ada", password)
    search = f"{settings.tracking}/api/2.0/mlflow/registered-models/search"
    answers = [httpx.get(search, auth=("ada", word)).status_code for word in ("first password", "second password")]
    assert answers == [httpx.codes.UNAUTHORIZED, httpx.codes.OK]


def test_the_registrys_own_password_cannot_be_changed_by_mistake(settings: Settings) -> None:
    with pytest.raises(Refused, match="choose another name"):
        set_password(settings.tracking, None, REGISTRY_USER, "another password")


def test_passwords_are_their_owners_alone_and_in_no_log_argument_or_environment(settings: Settings) -> None:
    files = [settings.registry_password_file, settings.registry_reader_file]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    words = [word for file in files for word in (file.read_text(),)]
    shown = words + [base64.b64encode(f"{REGISTRY_USER}:{words[0]}".encode()).decode()]
    process = stack.running_process(settings, "mlflow")
    assert process is not None
    seen = [" ".join(one.cmdline()) for one in [process, *process.children(recursive=True)]]
    seen += [path.read_text(errors="replace") for path in (settings.home / "logs").glob("*.log")]
    seen += list(os.environ.values()) + [psutil.Process().cmdline()[0]]
    assert not [text for text in seen if any(word in text for word in shown)]
    assert stat.S_IMODE(Path(settings.home).stat().st_mode) == 0o700
