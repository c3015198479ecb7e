"""Records in the store that a try starts each of its steps once, and adopts an unfinished attempt of an earlier try.

The files are below ``runs/<dag>/<run>/<task>-<step>/`` (mapped task: ``<task>-<map index>-<step>``): per attempt the
ticket, what the pod wrote (log, result, manifest) and what the task wrote (``end.json``, ``adopts.json``,
``collected.json``). An attempt is one try of the task; a time stamp in its name distinguishes it from tries of a
deleted run with the same id. The ticket of a try is never changed: a later release is used by the next try only.
Tickets, manifests and adoptions are sealed by a key of the attempt (`pipelines.pod.run_seal`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.pod_run import MANIFEST, RESULT, TICKET, RunManifest, RunTicket
from pipelines.ports import Store
from pipelines.rules.pod_end import PodEnd
from pipelines.spec.fault_text import fault_texts
from practices._pods.recorded_end import end_error, end_json
from practices._pods.run_identity import is_same_request, path_slug
from practices._pods.sealed_files import SealedFiles

ATTEMPT = re.compile(r"[0-9]{1,9}-[0-9A-Za-z]*")  # an attempt's folder; others that lie beside it are nobody's
END_FILE, ADOPTS_FILE, COLLECTED_FILE = "end.json", "adopts.json", "collected.json"


@dataclass(frozen=True)
class Launch:
    """One step of one task instance in one try."""

    store: Store
    step: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    stamp: str = ""
    """When Airflow created this try: the first 12 hex digits of its id, a UUID of version 7."""
    request: str = ""
    """The request as JSON text, built from the present facts."""
    secrets: tuple[str, ...] = ()
    """Of the installation (`SealedFiles`)."""

    @classmethod
    def of(cls, context: Any, store: Store, step: str, request: str = "", secrets: Sequence[str] = ()) -> Launch:
        ti = context["ti"]
        map_index = -1 if ti.map_index is None else int(ti.map_index)
        stamp, number = str(ti.id).replace("-", "")[:12], int(ti.try_number)
        return cls(store, step, ti.dag_id, ti.run_id, ti.task_id, map_index, number, stamp, request, tuple(secrets))

    @property
    def attempt(self) -> str:
        return f"{self.try_number}-{self.stamp}"

    @property
    def root(self) -> str:
        task = self.task_id if self.map_index < 0 else f"{self.task_id}-{self.map_index}"
        return store_paths.pod_run(self.dag_id, path_slug(self.run_id), f"{task}-{self.step}", "").rstrip("/")

    @property
    def task_digest(self) -> str:
        """16 hex digits, equal for all tries of the task instance."""
        parts = (self.dag_id, self.run_id, self.task_id, str(self.map_index), self.step)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def pod_name(self, attempt: str) -> str:
        """Name of the attempt's pod; equal when the same attempt is launched again."""
        readable = re.sub(r"[^a-z0-9]+", "-", f"{self.dag_id}-{self.step}".lower()).strip("-")
        digest = hashlib.sha256(f"{self.task_digest}/{attempt}".encode()).hexdigest()[:10]
        return f"{readable[:45].strip('-')}-{digest}"

    def path(self, attempt: str, name: str = "") -> str:
        return f"{self.root}/{attempt}/{name}".rstrip("/")

    def run_key(self, attempt: str) -> str | None:
        """The key by which the attempt's pod reads its ticket and seals its manifest."""
        return self._sealed.key(self.path(attempt))

    @cached_property
    def _sealed(self) -> SealedFiles:
        return SealedFiles(self.store, self.secrets)

    @cached_property
    def _files_by_attempt(self) -> dict[str, set[str]]:
        files: dict[str, set[str]] = {}
        for path in self.store.list(f"{self.root}/"):
            attempt, _, name = path.removeprefix(f"{self.root}/").partition("/")
            if ATTEMPT.fullmatch(attempt):
                files.setdefault(attempt, set()).add(name)
        return files

    def current_attempt(self) -> str | None:
        """The attempt that this try has begun or adopted; None if it has not."""
        return self._resolve_adopted(self.attempt)

    def _resolve_adopted(self, attempt: str) -> str | None:
        """The attempt, or the one that it adopted; None if it has neither a ticket nor an adopted attempt."""
        files = self._files_by_attempt.get(attempt, set())
        if ADOPTS_FILE in files:
            return str(json.loads(self._sealed.get(self.path(attempt), ADOPTS_FILE))["attempt"])
        return attempt if TICKET in files else None

    def unfinished_attempt(self) -> str | None:
        """The attempt of the newest earlier try, if its request is the same and it may still be running or unread."""
        attempts = [
            (int(number), stamp, name) for name in self._files_by_attempt for number, _, stamp in [name.partition("-")]
        ]
        *_, latest = max((attempt for attempt in attempts if attempt[0] < self.try_number), default=(0, "", ""))
        newest = self._resolve_adopted(latest)
        files = self._files_by_attempt.get(newest or "", set())
        if newest is None or COLLECTED_FILE in files or END_FILE in files or self._lacks_seal(newest):
            return None
        if not is_same_request(self._ticket(newest).request, self.request):
            return None
        if MANIFEST in files and self._manifest(newest).outcome != "done":
            return None
        return newest

    def has_manifest(self, attempt: str) -> bool:
        return self.store.exists(self.path(attempt, MANIFEST))

    def reload(self) -> Launch:
        """A copy that lists the store again."""
        return replace(self)

    def read_result(self, attempt: str) -> bytes | None:
        """The result, checked against the attempt's manifest; None while there is neither a manifest nor an end.

        Raises what the step raised (``Refused``, ``Unavailable``), or the recorded end of a pod without a manifest;
        ``Unavailable`` for an attempt from before seals.
        """
        if self._lacks_seal(attempt):
            raise Unavailable(f"{self.path(attempt)} is of an earlier release; the next try starts a pod anew")
        files = self._files_by_attempt.get(attempt, set())
        if MANIFEST not in files:
            if END_FILE in files:
                raise end_error(self.store.get(self.path(attempt, END_FILE)))
            return None
        manifest = self._manifest(attempt)
        if manifest.outcome == "refused":
            raise Refused(manifest.subject or f"step {self.step} refused", manifest.reasons)
        if manifest.outcome == "unavailable":
            raise Unavailable(manifest.subject or f"step {self.step}: a service was unavailable")
        path = self.path(attempt, RESULT)
        if hashlib.sha256(result := self.store.get(path)).hexdigest() != manifest.result_sha256:
            raise Refused(f"{path} is not what the pod wrote: its digest differs from its manifest; clear the task")
        self.store.put(self.path(attempt, COLLECTED_FILE), json.dumps({"try": self.try_number}).encode())
        return result

    def _manifest(self, attempt: str) -> RunManifest:
        path = self.path(attempt, MANIFEST)
        try:
            manifest = RunManifest.model_validate_json(self._sealed.get(self.path(attempt), MANIFEST))
        except ValidationError as fault:
            raise Refused(f"{path} is not a manifest; clear the task", fault_texts(fault)) from fault
        request_digest = hashlib.sha256(self._ticket(attempt).request.encode()).hexdigest()
        if (manifest.step, manifest.request_sha256) != (self.step, request_digest):
            raise Refused(f"{path} answers another request than its ticket; clear the task")
        return manifest

    def _ticket(self, attempt: str) -> RunTicket:
        return RunTicket.model_validate_json(self._sealed.get(self.path(attempt), TICKET))

    def _lacks_seal(self, attempt: str) -> bool:
        return self._sealed.lacks_seal(self.path(attempt), TICKET)

    def write_ticket(self, declarations: str, workers: int) -> None:
        """Write the ticket; called before the pod is created, which reads it."""
        ticket = RunTicket(step=self.step, request=self.request, declarations=declarations, workers=workers)
        self._sealed.put(self.path(self.attempt), TICKET, ticket.model_dump_json(by_alias=True, indent=1).encode())

    def record_adoption(self, attempt: str) -> None:
        """Record that this try continues with the pod of an earlier one."""
        self._sealed.put(self.path(self.attempt), ADOPTS_FILE, json.dumps({"attempt": attempt}).encode())

    def write_end(self, attempt: str, end: PodEnd) -> None:
        """Record the end of a pod that wrote no manifest."""
        self.store.put(self.path(attempt, END_FILE), end_json(end))
