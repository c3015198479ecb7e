"""Every mirrored request is handed over whole or counted as dropped; none of them makes an answer wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.serving.data_plane.inference import DataPlane, PendingRequest
from pipelines.serving.data_plane.routing import LiveModel, LoadedTable
from pipelines.serving.models import mlflow_protocol
from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.predictor import Predictor
from pipelines.serving.models.rows import RowSchema
from pipelines.serving.prediction_log.writer import LoggedAnswer, LogWriter
from pipelines.serving.traffic.mirror_queue import (
    BATCH_ROWS,
    MAX_MESSAGE_BYTES,
    MirrorBatchHeader,
    MirrorChannel,
    MirrorQueue,
    mirror_sockets,
    receive,
)
from pipelines.serving.traffic.split import arm_headers

SOURCE = MirrorBatchHeader("flight_delay", "r-1", 3, "2", ["distance", "carrier"])


class Line:
    """A feed over a real socket, its timer, and what each lane heard."""

    def __init__(self) -> None:
        self.write, self.read = mirror_sockets()
        self.timers: list[Callable[[], None]] = []
        self.feed = MirrorQueue(self.write, lambda _, callback: self.timers.append(callback))
        self.heard: list[tuple[int, int]] = []

    def open_channel(self, source: MirrorBatchHeader = SOURCE) -> MirrorChannel:
        return self.feed.open_channel(source, lambda over, dropped: self.heard.append((over, dropped)))


@pytest.fixture
def mirrored() -> Iterator[Line]:
    found = Line()
    yield found
    found.write.close()
    found.read.close()


def answer(name: str, rows: int = 1, text: str = "AA") -> LoggedAnswer:
    return LoggedAnswer(7, 1, 2, name, name, 4, 10, None, [[1.5] * rows, [text] * rows], [0.25] * rows)


def test_requests_arrive_as_they_were_answered_with_what_they_share_said_once(mirrored: Line) -> None:
    lane = mirrored.open_channel()
    for name in "abc":
        lane.send(answer(name))
    assert receive(mirrored.read) is None
    mirrored.timers[0]()
    found = receive(mirrored.read)
    assert found is not None
    assert found.header == SOURCE
    assert found.answers == [answer(name) for name in "abc"]
    assert mirrored.heard == [(3, 0)]


def test_one_timer_runs_for_all_that_waits_and_a_full_batch_does_not_wait_for_it(mirrored: Line) -> None:
    one, other = (
        mirrored.open_channel(),
        mirrored.open_channel(MirrorBatchHeader("arrival", "r-2", 0, "9", ["distance"])),
    )
    one.send(answer("a"))
    other.send(answer("b"))
    assert len(mirrored.timers) == 1
    one.send(answer("c", rows=BATCH_ROWS))
    found = [receive(mirrored.read), receive(mirrored.read)]
    assert [(each.header.model, len(each.answers)) for each in found if each] == [("flight_delay", 2), ("arrival", 1)]
    mirrored.timers[0]()
    assert receive(mirrored.read) is None
    assert mirrored.heard == [(2, 0), (1, 0)]


def test_a_request_that_does_not_fit_takes_none_of_the_others_with_it(mirrored: Line) -> None:
    lane = mirrored.open_channel()
    for each in (answer("a"), answer("large", text="x" * MAX_MESSAGE_BYTES), answer("b")):
        lane.send(each)
    mirrored.feed.flush()
    found = [receive(mirrored.read), receive(mirrored.read)]
    assert [each.answers[0].request_id for each in found if each] == ["a", "b"]
    assert mirrored.heard == [(2, 1)]


def test_a_number_that_no_other_process_could_take_is_a_dropped_request(mirrored: Line) -> None:
    lane = mirrored.open_channel()
    lane.send(LoggedAnswer(7, 1, 2, "a", "a", 4, 10, None, [[2**64]], [0.5]))
    mirrored.feed.flush()
    assert mirrored.heard == [(0, 1)]


def test_a_full_line_drops_what_comes_and_says_how_much(mirrored: Line) -> None:
    lane = mirrored.open_channel()
    for number in range(100):
        lane.send(answer(str(number), rows=BATCH_ROWS, text="x" * 2000))
    over, dropped = (sum(each) for each in zip(*mirrored.heard, strict=True))
    assert over + dropped == 100
    assert 0 < over < 100
    arrived = 0
    while (found := receive(mirrored.read)) is not None:
        arrived += len(found.answers)
    assert arrived == over


# ---- after the answer --------------------------------------------------------------------------------------------


class Picky(LogWriter):
    """A log that notes what came, and cannot take one of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "0-1", lambda *_: None)
        self.logged: list[str] = []

    def append(self, columns: Any, answer: LoggedAnswer) -> None:
        if answer.correlation_id == "bad":
            raise ValueError("no room")
        self.logged.append(answer.correlation_id)


def test_every_caller_of_a_turn_is_answered_before_any_answer_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Picky(tmp_path)
    feature = InputColumn("distance", "numeric")
    manifest = BundleManifest("flight_delay", "1", "onnx", "value", [feature], {}, "0" * 64, "model.onnx")
    champion = Predictor(manifest, {}, lambda matrix: matrix[:, 0])
    columns = log.columns("flight_delay", "1", ["distance"], ["numeric"])
    live = LiveModel("1", champion, RowSchema([feature], 10), columns, arm_headers("1", "champion"))

    async def turn() -> list[str]:
        data_plane = DataPlane(log)
        data_plane.table = LoadedTable(1, {"flight_delay": live})
        order: list[str] = []
        for name in ("a", "bad", "c"):
            request = PendingRequest(mlflow_protocol, None, {b"x-correlation-id": name.encode()})
            response = data_plane.infer_inline(request, b'{"instances": [[1.0]]}')
            order.append(f"{response.status}, {len(log.logged)} logged")
        await asyncio.sleep(0)
        return order

    assert asyncio.run(turn()) == ["200, 0 logged"] * 3
    assert (log.logged, log.dropped) == (["a", "c"], 1)
    assert "an answer could not be logged: ValueError" in caplog.text
