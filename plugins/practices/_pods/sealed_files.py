"""Files of a run's attempts in the store, sealed by keys that are derived from the secrets of the installation."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.pod.run_seal import get_sealed, put_sealed, run_key, seal_path
from pipelines.ports import Store


@dataclass(frozen=True)
class SealedFiles:
    """``secrets`` are of the installation, and no pod has them: the first one makes keys, all are believed.

    Without secrets nothing is sealed or checked.
    """

    store: Store
    secrets: tuple[str, ...] = ()

    def key(self, attempt: str) -> str | None:
        """The key of the attempt whose files lie below this path."""
        return next(iter(self._keys(attempt)), None)

    def get(self, attempt: str, name: str) -> bytes:
        """``Refused`` unless the file has the seal of this attempt."""
        return get_sealed(self.store, f"{attempt}/{name}", self._keys(attempt))

    def put(self, attempt: str, name: str, content: bytes) -> None:
        put_sealed(self.store, f"{attempt}/{name}", content, self.key(attempt))

    def lacks_seal(self, attempt: str, name: str) -> bool:
        """Whether the file was written before files were sealed, or by somebody else."""
        return bool(self.secrets) and not self.store.exists(seal_path(f"{attempt}/{name}"))

    def _keys(self, attempt: str) -> list[str]:
        return [run_key(secret, attempt) for secret in self.secrets]
