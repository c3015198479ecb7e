"""Compares what a model's target serves with ledger and registry; the target is the truth of what is live."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from pipelines.ledger.version_state import Observation, State, VersionState, live_version, versions_in

STATUS_TAG = "airworthy.status"
STATUS_OF = "status of version "
ENDED_PHASES = ("ROLLED_BACK", "FAILED")


class Difference(BaseModel):
    """One thing that is recorded otherwise than it is. ``repairable``: ``airworthy reconcile`` can put it right."""

    model_config = ConfigDict(frozen=True)

    what: str
    recorded: str | None
    right: str | None
    because: str
    repairable: bool = True

    @property
    def text(self) -> str:
        """``alias champion names version 3, but the target serves version 4``"""
        return f"{self.what} is {self.recorded or 'missing'}, but {self.because}"


class Standing(BaseModel):
    """The versions of one model at its target, in the ledger and in the registry.

    ``target`` is None if it did not answer, ``status_tags`` (by registered version) and ``aliases`` if the registry did
    not; ``unreachable`` says why.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    target: Observation | None
    versions: Mapping[str, VersionState]
    """The states by the ledger."""
    observed_versions: Mapping[str, VersionState]
    """The states as they were if the ledger had what the target serves; the same where both agree."""
    status_tags: Mapping[str, str | None] | None = None
    aliases: Mapping[str, str] | None = None
    unreachable: tuple[str, ...] = ()

    @property
    def live(self) -> str | None:
        """The version that the target serves; where it does not answer, the live version by the ledger."""
        return self.target.live if self.target is not None else live_version(self.versions)

    def is_recorded(self, version: str) -> bool:
        """Whether the ledger has the version in the state that it is in."""
        recorded, observed = self.versions.get(version), self.observed_versions.get(version)
        return recorded is not None and observed is not None and recorded.state is observed.state

    @property
    def outdated_tags(self) -> list[str]:
        """Registered versions whose status tag is not their state, newest first."""
        return [difference.what.removeprefix(STATUS_OF) for difference in _status_differences(self)]

    @property
    def disagreements(self) -> list[str]:
        """What monitoring and deployments rest on and is recorded otherwise than it is, each with what to do."""
        disagreeing = [*_ledger_differences(self), *_alias_differences(self)]
        hint = f"airworthy reconcile {self.model} --apply puts it right"
        return [f"{each.text}: {hint if each.repairable else each.right}" for each in disagreeing]


def differences(standing: Standing) -> list[Difference]:
    """All of them: the ledger's first, then the registry's aliases, then its status tags by version, newest first."""
    return [*_ledger_differences(standing), *_alias_differences(standing), *_status_differences(standing)]


def _ledger_differences(standing: Standing) -> list[Difference]:
    target, gaps = standing.target, []
    if target is None:
        return []
    recorded = live_version(standing.versions)
    if recorded != target.live:
        because = f"the target serves {_version(target.live)}"
        gaps.append(Difference(what="the ledger's live version", recorded=recorded, right=target.live, because=because))
    for staged in versions_in(standing.versions, State.STAGED):
        if staged not in (target.candidate, target.live) and target.phase in ENDED_PHASES:
            because = f"rollout {target.rollout_id} is {target.phase}: {target.reason or 'no reason was given'}"
            right = target.candidate
            gaps.append(Difference(what="the ledger's staged version", recorded=staged, right=right, because=because))
    return gaps


def _alias_differences(standing: Standing) -> list[Difference]:
    target, gaps = standing.target, []
    if target is None or standing.status_tags is None or standing.aliases is None:
        return []
    roles = {"champion": (target.live, "serves"), "previous": (target.previous, "can restore")}
    for alias, (version, does) in roles.items():
        recorded, because = standing.aliases.get(alias), f"the target {does} {_version(version)}"
        if version is not None and version not in standing.status_tags:
            missing = Difference(
                what=f"version {version} in the registry",
                recorded=None,
                right="release another version, or restore the registry from its backup",
                because=because,
                repairable=False,
            )
            gaps.append(missing)
            version = None
        if recorded != version:
            gaps.append(Difference(what=f"alias {alias}", recorded=recorded, right=version, because=because))
    return gaps


def _status_differences(standing: Standing) -> list[Difference]:
    tags = standing.status_tags or {}
    return [
        Difference(
            what=f"{STATUS_OF}{version}",
            recorded=tag,
            right=standing.observed_versions[version].state.value,
            because=standing.versions[version].text if standing.is_recorded(version) else "by what the target serves",
        )
        for version, tag in sorted(tags.items(), key=lambda item: int(item[0]), reverse=True)
        if version in standing.observed_versions and tag != standing.observed_versions[version].state.value
    ]


def _version(version: str | None) -> str:
    return f"version {version}" if version else "nothing"
