"""Masks and samples answers as the gateway's declaration says, before they reach the log's buffer."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving import settings
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, LogWriter
from pipelines.serving.settings import GatewayConfig, PrivacyConfig

log = logging.getLogger("airworthy.gateway")

Treatment = Callable[[Any], Any]
EMAIL = re.compile(r"[^\s@<>,;\"']+@[^\s@<>,;\"']+\.[^\s@<>,;\"']+")
PHONE = re.compile(r"(?<![\w.:-])(?:\+|00)?\(?\d(?:[\s()./-]*\d){7,14}(?![\w:])")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
REMEMBERED = 4096
LONGEST = 4096
"""Characters of a text that the net looks at; a longer one is replaced as a whole."""


def writer(state: Path, name: str, schedule: Callable[[float, Callable[[], None]], object]) -> LogWriter:
    """The log of one process of the gateway whose state is in ``state``, as the door's settings want it."""
    door = settings.read(state)
    if door.privacy is None and door.log.sample >= 1:
        return LogWriter(state / "wal", name, schedule)
    return MaskedLogWriter(state / "wal", name, schedule, door)


class PersonalDataMask:
    """Replaces what looks like an e-mail address or a phone number. Answers are remembered: categories repeat."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if type(value) is not str:
            return value
        masked = self._known.get(value)
        if masked is None:
            masked = self._clean(value)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[value] = masked
        return masked

    @staticmethod
    def _clean(text: str) -> str:
        if len(text) > LONGEST:
            return "<long text>"
        if "@" in text:
            text = EMAIL.sub("<email>", text)
        return PHONE.sub(lambda match: match[0] if DATE.match(match[0].strip()) else "<phone>", text)


def drop(_: Any) -> None:
    """Nothing is kept."""


def mask(value: Any) -> Any:
    """The first character of a text; a number to one significant digit."""
    if value is None:
        return None
    if isinstance(value, str):
        return value[:1] + "***" if len(value) > 1 else "***"
    return float(f"{value:.0e}")


class HashMask:
    """HMAC-SHA256 of a value's text, 32 hex digits: equal values stay equal, none can be guessed without the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, value: Any) -> str | None:
        if value is None:
            return None
        text = value if isinstance(value, str) else repr(float(value))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()


class Masking:
    """What is done to each column, to entity ids and to correlation ids."""

    def __init__(self, declared: PrivacyConfig) -> None:
        self._declared = declared
        hashed = HashMask(settings.secret(declared.secret)) if declared.secret else drop
        self._treatments: dict[str, Treatment] = {"drop": drop, "mask": mask, "hash": hashed}
        self._net = PersonalDataMask() if declared.net else None
        self._warned: set[str] = set()
        self.entity_id = self._treatments.get(declared.entity_ids)
        self._key = settings.secret(declared.secret) if declared.secret else b""
        self.hashes_units = bool(self._key)

    def of(self, model: str, names: Sequence[str], types: Sequence[str]) -> tuple[list[Treatment | None], list[str]]:
        """What to do with each column, None where nothing is, and the types the log then has."""
        chosen = self._declared.columns.get(model, {})
        for name in chosen.keys() - set(names) - self._warned:
            self._warned.add(name)
            log.warning("privacy.columns.%s names %s, which this version does not have; is it misspelt?", model, name)
        treatments = [
            self._treatments[chosen[name]] if name in chosen else self._net if kind == "categorical" else None
            for name, kind in zip(names, types, strict=True)
        ]
        kinds = ["categorical" if chosen.get(name) == "hash" else kind for name, kind in zip(names, types, strict=True)]
        return treatments, kinds

    def unit(self, number: int) -> int:
        """What nobody can find the routing key to by trying: the salt of a rollout is no secret."""
        return int.from_bytes(hmac.digest(self._key, number.to_bytes(8, "big"), "sha256")[:8], "big")

    def correlation(self, text: str) -> str:
        return str(self._net(text)) if self._net is not None else text


class MaskedLogWriter(LogWriter):
    """A log that masks and samples before anything is buffered."""

    def __init__(
        self,
        folder: Path,
        worker: str,
        schedule: Callable[[float, Callable[[], None]], object],
        door: GatewayConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(folder, worker, schedule, clock=clock)
        self._masking = Masking(door.privacy) if door.privacy else None
        self._sample = door.log.sample
        self._bound = int(self._sample * 2**64)
        self._treated: dict[int, list[Treatment | None]] = {}

    def columns(self, model: str, version: str, names: Sequence[str], types: Sequence[str], *part: str) -> LogColumns:
        if self._masking is None:
            return super().columns(model, version, names, types, *part)
        treatments, kinds = self._masking.of(model, names, types)
        columns = super().columns(model, version, names, kinds, *part)
        self._treated[columns.number] = treatments if any(treatments) else []
        return columns

    def append(self, columns: LogColumns, answer: LoggedAnswer) -> None:
        changes: dict[str, Any] = {}
        if self._sample < 1 and not answer.fallback:
            if int.from_bytes(blake2b(answer.request_id.encode(), digest_size=8).digest(), "big") >= self._bound:
                return
            changes["weight"] = 1 / self._sample
        if self._masking is not None:
            changes |= self._masked(columns, answer, self._masking)
        super().append(columns, msgspec.structs.replace(answer, **changes) if changes else answer)

    def _masked(self, columns: LogColumns, answer: LoggedAnswer, masking: Masking) -> dict[str, Any]:
        """What changes in this answer."""
        changes: dict[str, Any] = {}
        treatments = self._treated[columns.number]
        if treatments:
            changes["values"] = [
                column if treat is None else [treat(value) for value in column]
                for treat, column in zip(treatments, answer.values, strict=True)
            ]
        if answer.ids is not None and masking.entity_id is not None:
            hidden = [masking.entity_id(entity_id) for entity_id in answer.ids]
            changes["ids"] = None if None in hidden else hidden
        if answer.unit is not None and masking.hashes_units:
            changes["unit"] = masking.unit(answer.unit)
        if answer.correlation_id != answer.request_id:  # one that the caller chose
            changes["correlation_id"] = masking.correlation(answer.correlation_id)
        return changes
