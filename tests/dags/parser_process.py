"""Imports Airflow once, and parses the DAG folder in a fork of itself for each request, as a DAG processor does.

A line of standard input is a request, ``{"environment": {name: value}, "dag_id": id or null}``; a line of standard
output is its answer: what ``parse_folder.py`` prints, or ``{"failed": traceback}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import airflow.sdk
import airflow.sdk.definitions._internal.contextmanager
import airflow.triggers.base  # noqa: F401 - what parse_folder.py imports before it looks at the DAGs

PARSER = Path(__file__).with_name("parse_folder.py")


def answer(request: dict[str, Any]) -> str:
    os.environ.update(request["environment"])
    sys.argv = [str(PARSER), *([request["dag_id"]] if request["dag_id"] else [])]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(PARSER), run_name="__main__")
        return printed.getvalue().splitlines()[-1]
    except BaseException:  # a file of the folder may raise anything
        return json.dumps({"failed": traceback.format_exc()})


if __name__ == "__main__":
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            os.write(sys.stdout.fileno(), f"{answer(json.loads(line))}\n".encode())
            os._exit(0)
        os.waitpid(child, 0)
