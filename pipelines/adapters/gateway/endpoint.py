"""The ``Endpoint`` port over the gateway's HTTP: a 4xx answer is ``Refused``; no answer, 429 or 5xx ``Unavailable``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.release import LiveState

if TYPE_CHECKING:
    import httpx

TOKEN_VARIABLE = "AIRWORTHY_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable, not a token
KEY_VARIABLE = "AIRWORTHY_GATEWAY_KEY"


class GatewayEndpoint:
    """Talks to one gateway: predictions to ``base``, changes to ``admin``.

    ``token`` is the admin listener's bearer token; None: the environment's ``AIRWORTHY_GATEWAY_TOKEN``, else the
    content of ``token_file``, which the gateway of this machine writes at its first start.
    Predictions carry the key that the environment's ``AIRWORTHY_GATEWAY_KEY`` holds, if it is set.
    ``actor`` is named in the gateway's history as who asked for a change.
    Timeouts are in seconds. ``slow_timeout`` is for releases, which load the bundle in every worker, and for flushes,
    which write Parquet.
    """

    def __init__(
        self,
        base: str,
        admin: str,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        actor: str | None = None,
        timeout: float = 30,
        slow_timeout: float = 330,
    ) -> None:
        self._base, self._admin = base.rstrip("/"), admin.rstrip("/")
        self._given_token = token if token is not None else os.environ.get(TOKEN_VARIABLE)
        self._token_file = token_file
        self._actor = actor
        self._timeout, self._slow_timeout = timeout, slow_timeout
        self._http_client: httpx.Client | None = None

    @property
    def _client(self) -> httpx.Client:
        if self._http_client is None:
            import httpx

            self._http_client = httpx.Client(timeout=self._timeout, trust_env=False)
        return self._http_client

    def _token(self) -> str | None:
        """Read anew for each call: the gateway may have been started since."""
        if self._given_token or self._token_file is None:
            return self._given_token
        try:
            return self._token_file.read_text().strip()
        except OSError:
            return None

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._http_client is not None:
            self._http_client.close()
            self._http_client = None

    def state(self, model: str) -> LiveState:
        return LiveState.model_validate(self._call("GET", f"{self._admin}/models/{model}"))

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        content = {"version": version, "bundle": bundle, "sha256": sha256}
        return self._post_change(f"{self._admin}/models/{model}/release", content, key)

    def restore_previous(self, model: str, *, key: str, reason: str) -> LiveState:
        return self._post_change(f"{self._admin}/models/{model}/rollback", {"reason": reason}, key)

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:
        content = {"version": version, "bundle": bundle, "sha256": sha256, "seconds": seconds}
        url = f"{self._admin}/models/{model}/unreleased"
        return str(self._call("POST", url, content, timeout=self._slow_timeout)["probe"])

    def unload_unreleased(self, model: str) -> None:
        self._call("DELETE", f"{self._admin}/models/{model}/unreleased")

    def _post_change(self, url: str, content: Mapping[str, Any], key: str) -> LiveState:
        headers = {"idempotency-key": key}
        return LiveState.model_validate(self._call("POST", url, content, headers=headers, timeout=self._slow_timeout))

    def flush_log(self, model: str) -> None:
        """Flush the gateway's whole prediction log, not only this model's."""
        if not model:
            raise Refused("flush_log needs the name of a model")
        self._call("POST", f"{self._admin}/flush", timeout=self._slow_timeout)

    def predict(
        self,
        model: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        ids: Sequence[str] | None = None,
        prediction_time: datetime | None = None,
    ) -> list[float]:
        """One prediction per row. A missing value is None."""
        content: dict[str, Any] = {"dataframe_split": {"columns": list(columns), "data": [list(row) for row in rows]}}
        if ids is not None:
            content["ids"] = list(ids)
        key = os.environ.get(KEY_VARIABLE)
        headers = {"x-api-key": key} if key else {}
        if prediction_time is not None:
            headers["x-prediction-time"] = prediction_time.astimezone(UTC).isoformat()
        answer = self._call("POST", f"{self._base}/models/{model}/invocations", content, headers=headers)
        predictions: list[float] = answer["predictions"]
        return predictions

    def _call(
        self,
        method: str,
        url: str,
        content: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        import httpx
        import orjson

        request_headers = {"content-type": "application/json", **(headers or {})}
        if url.startswith(f"{self._admin}/"):
            if token := self._token():
                request_headers["authorization"] = f"Bearer {token}"
            if self._actor:
                request_headers["x-airworthy-actor"] = quote(self._actor)
        try:
            response = self._client.request(
                method,
                url,
                content=None if content is None else orjson.dumps(content),
                headers=request_headers,
                timeout=self._timeout if timeout is None else timeout,
            )
        except httpx.HTTPError as error:
            name = type(error).__name__
            raise Unavailable(f"the gateway did not answer {method} {url} ({name}: {error}); is it running?") from error
        try:
            answer: dict[str, Any] = response.json()
        except ValueError:
            answer = {"subject": response.text[:200]}
        if response.is_success:
            return answer
        subject = answer.get("subject") or answer.get("error") or "no reason given"
        subject = f"the gateway answered {response.status_code} to {method} {url}: {subject}"
        reasons = answer.get("reasons") or answer.get("faults") or []
        if response.status_code == httpx.codes.PRECONDITION_FAILED:
            raise Conflict(subject, reasons)
        if response.is_client_error and response.status_code != httpx.codes.TOO_MANY_REQUESTS:
            raise Refused(subject, reasons)
        raise Unavailable("; ".join([subject, *reasons]))
