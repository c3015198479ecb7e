"""The environment of a training: Python, system and versions of the packages that matter, with a digest."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version

from pydantic import BaseModel, ConfigDict

MODEL_PACKAGES = (
    "airworthy",
    "numpy",
    "polars",
    "polars-runtime-32",
    "pandas",
    "pyarrow",
    "scipy",
    "scikit-learn",
    "skops",
    "xgboost",
    "optuna",
)
"""Distributions that take part in computing a model; another version of one of them may give another model."""


class Environment(BaseModel):
    """``versions``: of the ``MODEL_PACKAGES`` that are installed."""

    model_config = ConfigDict(frozen=True)

    python: str
    system: str
    machine: str
    versions: dict[str, str]

    def digest(self) -> str:
        """sha256 of the sorted lines, 64 hex digits."""
        lines = [f"python=={self.python}", f"{self.system}-{self.machine}"]
        lines += sorted(f"{name}=={version}" for name, version in self.versions.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def differences(self, other: Environment) -> list[str]:
        """Each fact that differs, as ``xgboost: 3.1.0 then, 3.2.0 now`` (this one is then)."""
        then = {"python": self.python, "system": self.system, "machine": self.machine, **self.versions}
        now = {"python": other.python, "system": other.system, "machine": other.machine, **other.versions}
        names = sorted({*then, *now})
        return [
            f"{name}: {then.get(name, 'absent')} then, {now.get(name, 'absent')} now"
            for name in names
            if then.get(name) != now.get(name)
        ]


def environment() -> Environment:
    """Of this process."""
    versions = {}
    for name in MODEL_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return Environment(
        python=platform.python_version(), system=platform.system(), machine=platform.machine(), versions=versions
    )


@cache
def installed_packages() -> str:
    """Every installed distribution as ``name==version`` lines, sorted: the lock of this environment."""
    lines = {f"{item.metadata['Name']}=={item.version}" for item in distributions() if item.metadata["Name"]}
    return "\n".join(sorted(lines, key=str.lower)) + "\n"
