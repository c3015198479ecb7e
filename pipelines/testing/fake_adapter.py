"""The parent of the fakes, by which a test switches any of them off."""

from __future__ import annotations

from pipelines.errors import Unavailable


class FakeAdapter:
    down = False

    def _check_available(self) -> None:
        if self.down:
            raise Unavailable(f"{type(self).__name__} does not answer (a test switched it off)")
