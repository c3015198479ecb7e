"""Masks and samples answers by the gateway's configuration before they reach the log's buffer."""

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

from pipelines.logs.personal_data import mask_text
from pipelines.serving import settings
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, LogWriter
from pipelines.serving.settings import GatewayConfig, PrivacyConfig

log = logging.getLogger("airworthy.gateway")

Mask = Callable[[Any], Any]
Masks = list[Mask | None]
RANDOM_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""A correlation id that was drawn: a trace id or a UUID, whose digits may look like those of a phone number."""
MAX_CACHED_TEXTS = 4096
MAX_TEXT_LENGTH = 4096
"""Longest text in characters that is searched for personal data; a longer one is replaced as a whole."""


def open_log_writer(state: Path, name: str, schedule: Callable[[float, Callable[[], None]], object]) -> LogWriter:
    """The log writer of one process of the gateway with state folder ``state``, by the gateway's configuration."""
    config = settings.read_config(state)
    if config.privacy is None and config.log.sample >= 1:
        return LogWriter(state / "wal", name, schedule)
    return MaskedLogWriter(state / "wal", name, schedule, config)


class PersonalDataMask:
    """Replaces e-mail addresses and phone numbers. Results are remembered, because categories repeat."""

    def __init__(self) -> None:
        self._remembered: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if type(value) is not str:
            return value
        masked = self._remembered.get(value)
        if masked is None:
            masked = self._mask_text(value)
            if len(self._remembered) >= MAX_CACHED_TEXTS:
                self._remembered.clear()
            self._remembered[value] = masked
        return masked

    @staticmethod
    def _mask_text(text: str) -> str:
        return "<long text>" if len(text) > MAX_TEXT_LENGTH else mask_text(text)


def drop_value(_: Any) -> None:
    """Log null instead of the value."""


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
    """The masks of columns, entity ids, callers, correlation ids and units."""

    def __init__(self, config: PrivacyConfig) -> None:
        self._config = config
        hash_mask = HashMask(settings.read_secret(config.secret)) if config.secret else drop_value
        self._masks: dict[str, Mask] = {"drop": drop_value, "mask": mask, "hash": hash_mask}
        self._text_mask = PersonalDataMask() if config.net else None
        self._warned: set[str] = set()
        self.entity_id = self._masks.get(config.entity_ids)
        self.caller = self._masks.get(config.callers)
        self._key = settings.read_secret(config.secret) if config.secret else b""
        self.hashes_units = bool(self._key)

    def column_masks(self, model: str, names: Sequence[str], types: Sequence[str]) -> tuple[Masks, list[str]]:
        """The mask of each column, None for none, and the types of the columns in the log."""
        declared = self._config.columns.get(model, {})
        for name in declared.keys() - set(names) - self._warned:
            self._warned.add(name)
            log.warning("privacy.columns.%s names %s, which this version does not have; is it misspelt?", model, name)
        columns = list(zip(names, types, strict=True))
        masks = [
            self._masks[declared[name]] if name in declared else self._text_mask if kind == "categorical" else None
            for name, kind in columns
        ]
        return masks, ["categorical" if declared.get(name) == "hash" else kind for name, kind in columns]

    def hash_unit(self, number: int) -> int:
        """The unit hashed with the secret: a rollout's salt is public, so routing keys could be guessed otherwise."""
        return int.from_bytes(hmac.digest(self._key, number.to_bytes(8, "big"), "sha256")[:8], "big")

    def mask_caller(self, name: str) -> str | None:
        """As declared; else the subject of a token may hold personal data, the declared id of a key does not."""
        if self.caller is not None:
            return self.caller(name)  # type: ignore[no-any-return]
        return name if self._text_mask is None or name.startswith("key:") else str(self._text_mask(name))

    def mask_correlation_id(self, text: str) -> str:
        if self._text_mask is None or RANDOM_ID.fullmatch(text):
            return text
        return str(self._text_mask(text))


class MaskedLogWriter(LogWriter):
    """A log writer that masks and samples answers before they are buffered."""

    def __init__(
        self,
        folder: Path,
        worker: str,
        schedule: Callable[[float, Callable[[], None]], object],
        config: GatewayConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(folder, worker, schedule, clock=clock)
        self._masking = Masking(config.privacy) if config.privacy else None
        self._sample = config.log.sample
        self._sample_bound = int(self._sample * 2**64)
        self._column_masks: dict[int, Masks] = {}

    def columns(self, model: str, version: str, names: Sequence[str], types: Sequence[str], *part: str) -> LogColumns:
        if self._masking is None:
            return super().columns(model, version, names, types, *part)
        masks, logged_types = self._masking.column_masks(model, names, types)
        columns = super().columns(model, version, names, logged_types, *part)
        self._column_masks[columns.number] = masks if any(masks) else []
        return columns

    def append(self, columns: LogColumns, answer: LoggedAnswer) -> None:
        changes: dict[str, Any] = {}
        if self._sample < 1 and not answer.fallback:
            if int.from_bytes(blake2b(answer.request_id.encode(), digest_size=8).digest(), "big") >= self._sample_bound:
                return
            changes["weight"] = 1 / self._sample
        if self._masking is not None:
            self._mask(columns, answer, self._masking, changes)
        super().append(columns, msgspec.structs.replace(answer, **changes) if changes else answer)

    def _mask(self, columns: LogColumns, answer: LoggedAnswer, masking: Masking, changes: dict[str, Any]) -> None:
        """Add the masked fields of this answer to ``changes``."""
        masks = self._column_masks[columns.number]
        if masks:
            changes["values"] = [
                column if mask_value is None else [mask_value(value) for value in column]
                for mask_value, column in zip(masks, answer.values, strict=True)
            ]
        if answer.ids is not None and masking.entity_id is not None:
            masked_ids = [masking.entity_id(entity_id) for entity_id in answer.ids]
            changes["ids"] = None if None in masked_ids else masked_ids
        if answer.caller is not None:
            masked = masking.mask_caller(answer.caller)
            if masked is not answer.caller:
                changes["caller"] = masked
        if answer.unit is not None and masking.hashes_units:
            changes["unit"] = masking.hash_unit(answer.unit)
        if answer.correlation_id != answer.request_id:  # one that the caller chose
            changes["correlation_id"] = masking.mask_correlation_id(answer.correlation_id)
