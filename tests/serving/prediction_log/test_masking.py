"""What must not be written down is neither in the log, nor in Parquet, nor in what the processes say."""

from __future__ import annotations

import hmac
import json
import re
import struct
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.serving.prediction_log.masking import MaskedLogWriter, Masking, PersonalDataMask, mask
from pipelines.serving.prediction_log.writer import LoggedAnswer, read_segment
from pipelines.serving.settings import GatewayConfig, LogConfig, PrivacyConfig
from tests.serving.front_gateways import front
from tests.serving.gateway_process import COLUMNS, write_bundle

SECRET = "a-pepper-of-more-than-32-characters"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("jo.doe+x@mail.example.org", "<email>"),
        ("write to jo@x.org, please", "write to <email>, please"),
        ("+1 (212) 555-0199", "<phone>"),
        ("call 0049 170 1234567 now", "call <phone> now"),
        ("2125550199", "<phone>"),
        ("UA", "UA"),
        ("N12345", "N12345"),
        ("2013-09-01", "2013-09-01"),
        ("2013-09-01T10:00", "2013-09-01T10:00"),
        ("EWR 10:15", "EWR 10:15"),
        ("3.14159", "3.14159"),
        ("", ""),
        ("x" * 5000, "<long text>"),
        (None, None),
        (7.5, 7.5),
    ],
)
def test_the_net_catches_addresses_and_numbers_of_people_and_leaves_the_rest(text: Any, kept: Any) -> None:
    net = PersonalDataMask()
    assert (net(text), net(text)) == (kept, kept)


def test_the_net_is_quick_with_texts_made_to_slow_it_down() -> None:
    started = time.process_time()
    for text in ("a@" * 2000, "1 " * 2000, "@" * 4000, "+" * 4000, "a" * 2000 + "@", "1-" * 2000 + "x"):
        PersonalDataMask()(text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("value", "kept"),
    [("Smith", "S***"), ("S", "***"), ("", "***"), (None, None), (2567.0, 3000.0), (0, 0), (-12, -10)],
)
def test_a_mask_keeps_the_first_character_or_digit(value: Any, kept: Any) -> None:
    assert mask(value) == kept


def answer(number: int, values: list[list[Any]], name: str = "r", **more: Any) -> LoggedAnswer:
    return LoggedAnswer(number, 0, 0, name, "tel +1 212 555 0199", 1, 1, ["id-1"], values, [0.5], **more)


def records(folder: Path) -> list[Any]:
    (path,) = folder.glob("*.seg")
    return [one for one in read_segment(path.read_bytes())[0] if isinstance(one, LoggedAnswer)]


def log(folder: Path, door: GatewayConfig) -> MaskedLogWriter:
    return MaskedLogWriter(folder, "w", lambda *_: None, door)


def test_each_column_is_treated_as_declared_and_typed_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEPPER", SECRET)
    columns = {"m": {"name": "drop", "tail": "hash", "age": "mask", "income": "hash"}}
    door = GatewayConfig(privacy=PrivacyConfig("env:PEPPER", columns, "hash", True))
    writer = log(tmp_path, door)
    names, types = (
        ["name", "tail", "age", "income", "note"],
        ["categorical", "categorical", "numeric", "numeric", "categorical"],
    )
    described = writer.columns("m", "1", names, types)
    assert described.types == ["categorical", "categorical", "numeric", "categorical", "categorical"]
    writer.append(described, answer(described.number, [["Jo"], ["N1"], [47.0], [1000], ["jo@x.org"]]))
    writer.rotate()
    (found,) = records(tmp_path)

    def hashed(text: str) -> str:
        return hmac.digest(SECRET.encode(), text.encode(), "sha256")[:16].hex()

    assert found.values == [[None], [hashed("N1")], [50.0], [hashed("1000.0")], ["<email>"]]
    assert (found.ids, found.correlation_id) == ([hashed("id-1")], "tel <phone>")


def test_a_routing_key_is_hashed_once_more_under_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEPPER", SECRET)
    units = []
    for secret in (None, "env:PEPPER", "env:PEPPER"):
        writer = log(tmp_path / str(len(units)), GatewayConfig(privacy=PrivacyConfig(secret, {}, "keep", True)))
        described = writer.columns("m", "1", ["a"], ["numeric"])
        writer.append(described, answer(described.number, [[1.0]], unit=4711))
        writer.rotate()
        (found,) = records(tmp_path / str(len(units)))
        units.append(found.unit)
    assert units[0] == 4711
    assert units[1] == units[2] != 4711


def test_another_models_column_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    writer = log(tmp_path, GatewayConfig(privacy=PrivacyConfig(None, {"m": {"name": "drop"}}, "keep", False)))
    described = writer.columns("other", "1", ["name"], ["categorical"])
    writer.append(described, answer(described.number, [["Jo"]]))
    writer.rotate()
    (found,) = records(tmp_path)
    assert (found.values, found.ids) == ([["Jo"]], ["id-1"])


def test_a_sample_is_logged_with_its_weight_and_what_fell_back_is_always_there(tmp_path: Path) -> None:
    writer = log(tmp_path, GatewayConfig(log=LogConfig(0.25)))
    described = writer.columns("m", "1", ["a"], ["numeric"])
    for number in range(4000):
        writer.append(described, answer(described.number, [[1.0]], f"request-{number}"))
    for number in range(50):
        writer.append(described, answer(described.number, [[1.0]], f"fallback-{number}", fallback=True))
    writer.rotate()
    found = records(tmp_path)
    sampled = [one for one in found if not one.fallback]
    assert 880 < len(sampled) < 1120  # four standard deviations around 1,000
    assert {one.weight for one in sampled} == {4.0}
    assert [one.weight for one in found if one.fallback] == [1.0] * 50


def test_raw_values_reach_no_file_and_no_output_of_the_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEPPER", SECRET)
    monkeypatch.setenv("AIRWORTHY_LOG_FORMAT", "json")
    gateway = front(
        tmp_path,
        privacy={
            "secret": "env:PEPPER",
            "columns": {"flight_delay": {"distance": "hash"}},
            "entity_ids": "hash",
            "net": True,
        },
    )
    raw = ["jo.doe@mail.example", "+1 212 555 0199", "passenger-4711", "987654.25", "jo.corr@mail.example"]
    rows = [[raw[0], 987654.25, 7], [raw[1], 987654.25, 8]]
    try:
        gateway.start()
        gateway.release("1", write_bundle(tmp_path / "bundles", "1"))
        content = {"dataframe_split": {"columns": COLUMNS, "data": rows}, "ids": [raw[2], raw[2]]}
        assert gateway.invoke(content, **{"x-correlation-id": raw[4]}).status_code == 200
        bad = {"dataframe_split": {"columns": COLUMNS, "data": [[raw[0], raw[2], 7]]}, "ids": [raw[2]]}
        assert gateway.invoke(bad, **{"x-correlation-id": raw[4]}).status_code == 400
        wal = gateway.folder / "state" / "wal"
        gateway.wait_for(lambda: any(path.stat().st_size for path in wal.glob("*.open")))
        time.sleep(0.3)
        leaks = _leaks(gateway.folder, raw)
        gateway.flush()
        leaks += _leaks(gateway.folder, raw)
        frame = pl.read_parquet(list(gateway.store.glob("predictions/*/*/*.parquet")))
    finally:
        gateway.stop()
    assert leaks + _leaks(gateway.folder, raw) == []
    assert {json.loads(line)["part"] for line in gateway.log.splitlines()} == {"gateway"}
    text = json.dumps(frame.to_dicts(), default=str)
    assert [value for value in raw if value in text] == []
    assert frame["f_carrier"].to_list() == ["<email>", "<phone>"]
    assert frame["entity_id"].n_unique() == 1
    assert re.fullmatch("[0-9a-f]{32}", frame["f_distance"][0])


def _leaks(folder: Path, raw: list[str]) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and "bundles" not in path.parts:
            content = path.read_bytes()
            found += [f"{value} in {path.name}" for value in raw if value.encode() in content]
            found += ["the distance"] if struct.pack(">d", 987654.25) in content else []  # as msgpack writes it
    return found


def test_a_column_that_the_model_does_not_have_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = log(tmp_path, GatewayConfig(privacy=PrivacyConfig(None, {"m": {"nmae": "drop"}}, "keep", False)))
    for version in ("1", "2"):
        writer.columns("m", version, ["name"], ["categorical"])
    (message,) = caplog.messages
    assert "privacy.columns.m names nmae" in message


def test_a_caller_is_named_masked_hashed_or_dropped_as_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEPPER", "p" * 32)

    def logged(name: str, callers: str, *, net: bool = False) -> str | None:
        return Masking(PrivacyConfig("env:PEPPER", {}, "keep", net, callers)).mask_caller(name)

    assert logged("sub:lee@example.com", "keep") == "sub:lee@example.com"
    assert logged("sub:lee@example.com", "keep", net=True) == "<email>"
    assert logged("key:booking_site", "keep", net=True) == "key:booking_site"
    assert logged("sub:lee", "drop") is None
    hashed = logged("sub:lee", "hash")
    assert (hashed, len(hashed or "")) == (logged("sub:lee", "hash"), 32)


@pytest.mark.parametrize("drawn", ["12345678901234567890123456789012", "12345678-1234-4234-8234-123456789012"])
def test_a_trace_id_or_uuid_is_no_phone_number(drawn: str) -> None:
    masking = Masking(PrivacyConfig(None, {}, "keep", True))
    assert masking.mask_correlation_id(drawn) == drawn
    assert masking.mask_correlation_id(f"tel +{drawn[:8]}") == "tel <phone>"
