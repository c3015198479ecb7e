"""Draws what a hostile or broken client may send on one connection: frames, trailers, pipelines and encodings.

The same seed draws the same bytes.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Random = random.Random
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", "M-SEARCH"]
TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "application/json; charset=latin1",
    "application/json; charset=\x7f",
    "application/x-www-form-urlencoded",
    "text/csv",
    "",
]
CODINGS = ["gzip", "x-gzip", "identity", "br", "deflate", "gzip, gzip", "GZIP", ""]
MOMENTS = ["2013-03-01T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "yesterday", "", "2199-12-31"]
ODD_TEXTS = ["", "\x00", "é", "\u202e", "\ud800", "a" * 3000, "<script>", "%s%n", "../../etc", "'--", "NaN"]
ODD_NUMBERS = [
    "1e308",
    "-1e999",
    "1" * 400,
    "1" * 5000,
    "-0",
    "1e-400",
    "0.1" + "0" * 300,
    "NaN",
    "Infinity",
    "0x1",
    "01",
]


@dataclass
class Sent:
    """What one client sends, in the pieces in which it does.

    ``requests``: how many are well-formed, so that each has an answer; 0 where something is broken. ``patient``:
    whether the client waits until the gateway ends a broken request, else it leaves.
    """

    pieces: list[bytes]
    requests: int
    patient: bool

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


class RawHttp:
    """Draws connections to a gateway that serves ``model`` with ``columns``; one of ``credentials`` is sent."""

    def __init__(
        self, seed: int, model: str, columns: Mapping[str, str], credentials: Sequence[str], admin: Sequence[str] = ()
    ) -> None:
        self._random, self._model, self._columns = Random(seed), model, columns
        self._credentials, self._admin = credentials, admin

    def connection(self) -> Sent:
        draw = self._random
        requests = [self.request() for _ in range(draw.choice([1, 1, 1, 2, 5]))]
        content = b"".join(requests)
        count = len(requests)
        if draw.random() < 0.45:
            content, count = self._broken(content), 0
        return Sent(self._pieces(content), count, draw.random() < 0.1)

    # ---- well-formed requests ------------------------------------------------------------------------------------

    def request(self) -> bytes:
        draw = self._random
        method, path = self._target()
        body = self._body(path) if method in ("POST", "PUT", "PATCH") else b""
        fields = ["host: 127.0.0.1"]
        if self._admin and draw.random() < 0.9:
            fields += [
                draw.choice(self._admin),
                f"idempotency-key: {draw.randrange(50)}",
                f'if-match: "{draw.randrange(4)}"',
            ]
        elif draw.random() < 0.8:
            fields.append(draw.choice(self._credentials))
        for name, values, share in (
            ("x-prediction-time", MOMENTS, 0.1),
            ("x-correlation-id", ODD_TEXTS, 0.1),
            ("x-input-report", ["1"], 0.1),
            ("x-model-version", ["1", "7", ""], 0.1),
            ("x-forwarded-for", ["1.2.3.4", "::1, 2.3.4.5", "\xff"], 0.05),
            ("expect", ["100-continue", "200-ok"], 0.03),
            ("accept", ["*/*"], 0.2),
        ):
            if draw.random() < share:
                value = draw.choice(values).encode("utf-8", "replace").replace(b"\x00", b"")
                fields.append(f"{name}: {value.decode('latin-1')}")
        if body or method == "POST":
            body = self._encoded(body, fields)
        head = "".join(f"{field}\r\n" for field in fields).encode("latin-1", "replace")
        first = f"{method} {path} HTTP/1.1\r\n".encode("latin-1", "replace")
        if body and draw.random() < 0.3:
            return first + head + b"transfer-encoding: chunked\r\n\r\n" + self._chunked(body)
        return (
            first + head + (b"content-length: %d\r\n\r\n" % len(body) if body or method == "POST" else b"\r\n") + body
        )

    def _target(self) -> tuple[str, str]:
        draw, model = self._random, self._model
        if self._admin and draw.random() < 0.7:
            rollout = draw.choice(["r-1", "é", "a" * 300])
            verb = draw.choice(
                ["prepare", "traffic", "mirror", "lease", "pause", "resume", "promote", "retire", "rollback"]
            )
            path = draw.choice(
                ["/models", "/metrics", "/ready", f"/models/{model}", f"/models/{model}/history", "/models/x/release"]
                + [f"/models/{model}/rollback", f"/models/{model}/unreleased", f"/models/{model}/rollouts/{rollout}"]
                + [f"/models/{model}/rollouts/{rollout}/{verb}"] * 4
            )
            return draw.choice(["GET", "POST", "PUT", "POST", "DELETE"]), path.replace("é", "%C3%A9")
        inference = ["/invocations", f"/models/{model}/invocations", f"/v2/models/{model}/infer"]
        inference += [
            f"/v2/models/{model}/versions/1/infer",
            f"/v2/models/{model}/versions/9/infer",
            "/models/x/invocations",
        ]
        pages = ["/", "/docs", "/health", "/ready", "/metrics", "/openapi.json", "/version", "/v2", "/v2/health/live"]
        pages += [
            f"/v2/models/{model}",
            f"/v2/models/{model}/ready",
            "/v2/models//infer",
            "/%00",
            "/%ff%fe",
            "/a?b=c",
            "//",
        ]
        if draw.random() < 0.75:
            return "POST", draw.choice(inference)
        return draw.choice(["GET", "HEAD", "POST", "DELETE"]), draw.choice(pages + inference)

    def _body(self, path: str) -> bytes:
        draw = self._random
        if self._admin and draw.random() < 0.8:
            return self._admin_body()
        content: Any
        rows = [self._row() for _ in range(draw.choice([0, 1, 1, 2, 7]))]
        names = list(self._columns)
        ids = [f"id-{number}" for number in range(len(rows))]
        if path.endswith("infer"):
            content = {
                "inputs": [
                    {
                        "name": name,
                        "shape": draw.choice([[len(rows)], [len(rows), 1], [-1], [2**63], "1"]),
                        "datatype": draw.choice(["BYTES", "FP64", "INT8", "UINT64", "FP16", "BOOL", 7]),
                        "data": [row[index] for row in rows],
                    }
                    for index, name in enumerate(names)
                ]
            }
            if draw.random() < 0.3:
                content["parameters"] = draw.choice([{"ids": ids}, {"binary_data": False}, {"a": 1}, []])
        else:
            content = draw.choice(
                [
                    {"dataframe_split": {"columns": names, "data": rows}},
                    {"dataframe_records": [dict(zip(names, row, strict=True)) for row in rows]},
                    {"instances": rows},
                    {"inputs": {name: [row[index] for row in rows] for index, name in enumerate(names)}},
                ]
            )
            if draw.random() < 0.3:
                content["ids"] = draw.choice([ids, ids[1:], 7, [None] * len(rows)])
        text = json.dumps(content)
        if draw.random() < 0.3:
            text = self._damaged(text)
        return text.encode("utf-8", "surrogatepass")

    def _row(self) -> list[Any]:
        draw = self._random
        good = {
            "categorical": lambda: draw.choice(["UA", "AA", "ZZ", None]),
            "numeric": lambda: draw.choice([1, 2.5, None, 7]),
        }
        row = [good[kind]() for kind in self._columns.values()]
        if draw.random() < 0.2:
            row[draw.randrange(len(row))] = draw.choice([*ODD_TEXTS, True, [], {}, 2**63, 2**64, -(2**70), 1e300, 1e39])
        return row

    def _admin_body(self) -> bytes:
        draw = self._random
        fields = {
            "version": ["1", "2", None, 7],
            "bundle": ["/nowhere", "file:///etc", "s3://x/y", "../..", ""],
            "sha256": ["0" * 64, "x"],
            "seconds": [1, 0, -1, 1e308, float("nan"), 10**30],
            "reason": ODD_TEXTS,
            "actor": ODD_TEXTS,
            "split": [{"1": 5000, "2": 5000}, {"2": 10_000}, {"1": -1}, {}],
            "basis_points": [0, 10_000, -1, 2**70],
            "strategy": ["canary", "shadow", "ab", "x"],
            "supersede": [True],
            "deadline_ms": [1, -1, 1e308],
            "rollout_id": ["r-1", ""],
        }
        named = draw.sample(list(fields), draw.randrange(5))
        text = json.dumps({name: draw.choice(fields[name]) for name in named})
        return (self._damaged(text) if draw.random() < 0.2 else text).encode("utf-8", "surrogatepass")

    def _damaged(self, text: str) -> str:
        draw = self._random
        place = draw.randrange(len(text) + 1)
        return draw.choice(
            [
                text[:place],
                text[:place] + draw.choice(ODD_NUMBERS) + text[place:],
                text.replace("1", draw.choice(ODD_NUMBERS)),
                "[" * draw.choice([10, 600, 5000]) + text,
                '{"a":' * draw.choice([10, 600, 5000]) + text,
                text + text,
                text[:place] + draw.choice(['"', "\\", "\\ud800", "\\u0000", "\ufeff", "}", ","]) + text[place:],
            ]
        )

    def _encoded(self, body: bytes, fields: list[str]) -> bytes:
        draw = self._random
        if draw.random() < 0.7:
            fields.append("content-type: application/json")
        else:
            fields.append(f"content-type: {draw.choice(TYPES)}")
        if draw.random() < 0.8:
            return body
        coding = draw.choice(CODINGS)
        fields.append(f"content-encoding: {coding}")
        packed: Callable[[], bytes] = draw.choice(
            [
                lambda: gzip.compress(body, mtime=0),
                lambda: gzip.compress(body, mtime=0)[:-3],
                lambda: gzip.compress(bytes(3_000_000), mtime=0),
                lambda: zlib.compress(body),
                lambda: body,
                lambda: gzip.compress(body, mtime=0) * 2,
            ]
        )
        return packed()

    def _chunked(self, body: bytes) -> bytes:
        draw, parts = self._random, []
        while body:
            size = draw.choice([1, 7, 100, len(body)])
            extension = draw.choice([b"", b"", b";a=b", b';a="b;c"'])
            parts.append(b"%x%b\r\n%b\r\n" % (len(body[:size]), extension, body[:size]))
            body = body[size:] if len(parts) < 50 else b""
        trailers = draw.choice([b"", b"", b"x-model-version: 7\r\n", b"x-api-key: a\r\nx-b: c\r\n"])
        return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"

    # ---- broken ones ---------------------------------------------------------------------------------------------

    def _broken(self, content: bytes) -> bytes:
        """Bytes that are no HTTP, two lengths, ends and beginnings in the wrong places, anything flipped."""
        draw = self._random
        place = draw.randrange(len(content) + 1)
        before, after = content[:place], content[place:]
        breaks: list[Callable[[], bytes]] = [
            lambda: before,
            lambda: before + draw.randbytes(draw.choice([1, 16, 300])) + after,
            lambda: before + after[1:],
            lambda: content.replace(b"\r\n", draw.choice([b"\n", b"\r", b"\r\r\n", b"\r\n "]), draw.choice([1, -1])),
            lambda: content.replace(
                b"content-length: ", b"content-length: " + draw.choice([b"+", b"-", b"0x", b"9" * 25, b" "])
            ),
            lambda: content.replace(b"content-length", b"content-length: 3\r\ncontent-length", 1),
            lambda: content.replace(b"content-length", b"transfer-encoding: chunked\r\ncontent-length", 1),
            lambda: content.replace(
                b"chunked", draw.choice([b"gzip, chunked", b"chunked, gzip", b"xchunked", b"chunked\x0b"])
            ),
            lambda: content.replace(
                b"HTTP/1.1", draw.choice([b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 x", b"http/1.1", b""]), 1
            ),
            lambda: content.replace(
                b"host: ", draw.choice([b"host : ", b" host: ", b"host\x00: ", b"ho st: ", b": "]), 1
            ),
            lambda: content.replace(b"host:", b"x-filler: " + b"a" * 70_000 + b"\r\nhost:", 1),
            lambda: content.replace(b"host:", b"a: b\r\n" * draw.choice([50, 500]) + b"host:", 1),
            lambda: draw.choice(METHODS).encode() + content[content.find(b" ") :],
            lambda: b"\x16\x03\x01" + content,
            lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + content,
            lambda: b"\r\n" * draw.choice([1, 500]) + content,
            lambda: content + draw.randbytes(100),
            lambda: content.replace(b"/", b"http://127.0.0.1:1/", 1),
            lambda: content.replace(b"0\r\n\r\n", draw.choice([b"", b"fffffffffffffffff\r\n", b"-1\r\n", b"zz\r\n"])),
        ]
        return draw.choice(breaks)()

    def _pieces(self, content: bytes) -> list[bytes]:
        draw = self._random
        if draw.random() < 0.6 or len(content) < 2:
            return [content]
        cuts = sorted({draw.randrange(1, len(content)) for _ in range(draw.choice([1, 3]))})
        return [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
