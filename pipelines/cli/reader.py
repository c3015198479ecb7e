"""`airworthy reader <name>` lets a person log in to MLflow's pages, to read; the password is printed once."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

import httpx

from pipelines.cli.terminal_text import print_line
from pipelines.errors import Refused, Unavailable
from pipelines.mlflow_client import REGISTRY_USER, registry_login
from pipelines.ports import Ports
from pipelines.settings import Settings, read_or_create_secret

READER = "reader"
"""The log-in for reading that the embedded registry has from its first start."""
USERS = "api/2.0/mlflow/users"


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("reader", help="let a person read MLflow's pages", description=__doc__)
    parser.add_argument("name", help="log-in name; a known one gets another password")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, ports: Ports) -> int:
    password, address = secrets.token_urlsafe(12), ports.settings.tracking
    set_password(address, registry_login(address), options.name, password)
    print_line(f"{options.name} logs in at {address} with {password}")
    return 0


def draw_reader(settings: Settings, address: str) -> None:
    """Give the embedded registry its log-in for reading, once; the file with its password is its owner's alone."""
    file = settings.registry_reader_file
    if not file.exists():
        drawn, own = secrets.token_urlsafe(12), settings.registry_password_file.read_text().strip()
        set_password(address, (REGISTRY_USER, own), READER, drawn)
        read_or_create_secret(file, text=drawn)


def set_password(address: str, login: tuple[str, str] | None, name: str, password: str) -> None:
    """Create a user who may read, or change the password of a known one."""
    if name == REGISTRY_USER:
        raise Refused(f"{name} is the registry's own user, whose password is in use", ["choose another name"])
    user, url = {"username": name, "password": password}, f"{address.rstrip('/')}/{USERS}"
    try:
        with httpx.Client(auth=login, timeout=30) as client:
            answer = client.post(f"{url}/create", json=user)
            if "RESOURCE_ALREADY_EXISTS" in answer.text:
                answer = client.patch(f"{url}/update-password", json=user)
    except httpx.HTTPError as error:
        raise Unavailable(f"MLflow at {address} did not answer: {error}") from error
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of its administrator"
        raise Refused(f"MLflow at {address} does not let {login[0] if login else 'nobody'} do that", [hint])
    if answer.is_error:
        raise Refused(f"MLflow at {address} did not take the log-in {name}", [answer.text[:300]])
