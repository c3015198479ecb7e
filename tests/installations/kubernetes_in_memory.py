"""Objects of a cluster in memory, answered as an API server answers: by path, with a version of every write."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from kubernetes.client import ApiException

Document = dict[str, Any]
GROUPS = {
    "gateway.networking.k8s.io": ["v1"],
    "autoscaling": ["v2"],
    "policy": ["v1"],
    "serving.kserve.io": ["v1beta1"],
}


class KubernetesInMemory:
    """In place of a ``kubernetes.client.ApiClient``. Each controller is always done, and each Deployment is ready."""

    def __init__(self, *documents: Document) -> None:
        self.objects: dict[str, Document] = {}
        """By path."""
        self._writes = 0
        for document in documents:
            self.objects[path_of(document)] = document

    def call_api(
        self, path: str, method: str, *, query_params: Sequence[tuple[str, str]] = (), body: Any = None, **_: Any
    ) -> Any:
        place = path.removeprefix("/apis/")
        if place in GROUPS:
            return _answer({"versions": [{"version": version} for version in GROUPS[place]]})
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise ApiException(status=409, reason="it is there already")
            return _answer(self._write(path, body))
        if any(name == "labelSelector" for name, _ in query_params):
            return _answer({"items": []})
        if path not in self.objects:
            raise ApiException(status=404, reason="there is no such thing")
        if method == "PATCH":
            fence = body["metadata"].pop("resourceVersion", None)
            if fence not in (None, self.objects[path]["metadata"]["resourceVersion"]):
                raise ApiException(status=409, reason="it is another one by now")
            return _answer(self._write(path, _merged(self.objects[path], body)))
        return _answer(self.objects.pop(path) if method == "DELETE" else self.objects[path])

    def _write(self, path: str, document: Document) -> Document:
        self._writes += 1
        written = copy.deepcopy(document)
        written["metadata"] |= {"resourceVersion": f"{self._writes}", "generation": self._writes}
        written["status"] = _status(written["kind"], self._writes)
        self.objects[path] = written
        return written


def path_of(document: Document, namespace: str = "default") -> str:
    """Where an API server has it."""
    version, plural = document["apiVersion"], f"{document['kind'].lower()}s"
    root = "apis" if "/" in version else "api"
    return f"/{root}/{version}/namespaces/{namespace}/{plural}/{document['metadata']['name']}"


def _merged(before: Any, patch: Any) -> Any:
    """A merge patch: null takes away, an object is merged, everything else takes the place of what was there."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    found = dict(before) if isinstance(before, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found


def _status(kind: str, generation: int) -> Document:
    good = [{"type": name, "status": "True", "observedGeneration": generation} for name in ("Ready", "CanaryReady")]
    if kind == "HTTPRoute":
        return {"parents": [{"conditions": [{**good[0], "type": "Accepted"}]}]}
    if kind == "InferenceService":
        return {"observedGeneration": generation, "conditions": good}
    return {"availableReplicas": 1}


def _answer(document: Document) -> Any:
    return SimpleNamespace(data=json.dumps(document).encode())
