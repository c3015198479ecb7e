"""Messages about a candidate before it answers callers: bundle, inspection, checklist and load test."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message


class BundleRequest(Message):
    model: str
    version: str


class BundleResult(Message):
    """``bundles/<model>/<version>/``: what the gateway serves, checked against the registered model."""

    model: str
    version: str
    uri: str
    predictor: Literal["onnx", "native", "pyfunc"]
    sha256: str
    """Digest over the bundle's files."""
    model_digest: str
    parity_rows: int
    largest_difference: float
    notes: list[str] = []


class LiveState(Message):
    """What a model's deployment target serves now."""

    model: str
    version: str | None = None
    previous: str | None = None
    generation: int = 0
    bundle_sha256: str | None = None
    workers: int = 0
    applied: bool = True
    """Whether every live worker answers with this generation."""


class InspectionRequest(Message):
    """``champion`` is the version that is live now; None: there is none."""

    bundle: BundleResult
    champion: str | None = None


class BundleColumn(Message):
    """One column of a bundle's contract; ``minimum`` and ``maximum`` where the feature declares them."""

    name: str
    type: str
    minimum: float | None = None
    maximum: float | None = None


class BundleContract(Message):
    """What callers send to a version, and what it answers: a ``probability`` or a ``value``."""

    version: str
    semantic: str | None = None
    output: str
    columns: list[BundleColumn]


class LoggedTraffic(Message):
    """Requests that callers made, as the prediction log has them."""

    requests: float
    since: datetime
    until: datetime
    per_day: float


class StageDesign(Message):
    """One step of a rollout: requests of both versions together, and the time that the step may take at most."""

    share: int
    """Basis points of the candidate."""
    requests_to_pass: int | None = None
    """Until a good candidate is shown to keep its error threshold (power 80 %); None: no number of them does."""
    requests_to_find: int | None = None
    """Until a candidate ``expected_ratio`` times as bad is found by comparison (power 80 %)."""
    seconds: float
    """The longest that this step may last."""


class Inspection(Message):
    """One bundle as it lies in the store, read and tried anew; nothing in it was believed."""

    model: str
    version: str
    bundle_bytes: int
    predictor: str
    faults: list[str] = []
    """Files that are missing or have other bytes than the manifest, or the manifest than the bundle's digest, says."""
    altered: list[str] = []
    """Model files that the registered model, converted again, does not give."""
    pickles: list[str] = []
    """Files that hold a pickle."""
    model_digest: str | None = None
    """sha256 of the registered model's file, as it is now; None: it could not be loaded, ``faults`` says why."""
    rows: int = 0
    """Rows on which the bundle's predictor and the registered model were compared."""
    largest_difference: float | None = None
    flips: int = 0
    edge_rows: int = 0
    """Of them, rows with a null, unseen or extreme value; the first is null throughout."""
    edge_faults: list[str] = []
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    """One row by the bundle's predictor, without the network."""
    calls: int = 0
    contract: BundleContract | None = None
    untyped: list[str] = []
    """Columns without a type in ``schema.json``."""
    champion: BundleContract | None = None
    champion_fault: str | None = None
    """Why the live version's contract could not be read."""
    contract_changes: list[str] = []
    """What callers of the live version would meet as another contract."""
    narrowed: list[str] = []
    """Ranges that no longer hold all that the live version's do."""
    traffic: LoggedTraffic | None = None
    """None: nothing was logged of late."""
    design: list[StageDesign] = []
    plan_faults: list[str] = []
    """Why the declared rollout could not fail, not be decided, or not be followed."""
    load_test_fault: str | None = None
    """Why the target's candidate could not be tried under load."""
    load_test_needs: dict[str, int] = {}
    """Requests without which an assertion of the load test could not be shown, however good the candidate is."""
    notes: list[str] = []


class ReleaseStanding(Message):
    """What the ledger and the target say of a version that is to be deployed, and who asks for it."""

    gates: dict[str, str] = {}
    """Outcome by gate, of this very model file."""
    approval_digest: str | None = None
    ledger_faults: list[str] = []
    champion: str | None = None
    champion_sha256: str | None = None
    drill: str | None = None
    """Outcome of the newest rollback drill; None: there was none."""
    drillable: bool = True
    """Whether a version that was live before could stand in for a drill."""
    by_hand: bool = False
    deployer: str | None = None
    """Who triggered the run by hand; None: nobody, or somebody without a name."""


class ChecklistItem(Message):
    """One line of the checklist; ``why`` says by what it passed, failed, could not be measured or was waived."""

    item: str
    result: Literal["PASS", "FAIL", "UNKNOWN", "WAIVED", "WARNING"]
    why: list[str]


class LoadTestRequest(Message):
    """The prepared candidate of a rollout is asked at the rate that its model declares."""

    model: str
    version: str
    rollout_id: str


class ShareShown(Message):
    """What the requests of the plateau show of one share: ``bad`` of ``total``, held against ``limit``.

    ``above`` and ``below`` are the natural logs of the evidence that the true share is beyond, or within, the limit;
    ``needed_total`` is how many requests would show it to be within, at the share that was found; None: none would.
    """

    name: Literal["p95_latency", "p99_latency", "error_rate"]
    limit: float
    """Share of the requests: 0.05, 0.01 or the declared one."""
    over_ms: float | None = None
    bad: int
    total: int
    above: float
    below: float
    needed_total: int | None = None


class LoadTestResult(Message):
    """Latencies in milliseconds from the moment at which a request was due, so that a stall is not left out."""

    model: str
    version: str
    rollout_id: str
    sent: int
    answered: int
    errors: dict[str, int] = {}
    """By kind: ``status 503``, ``timeout``, ``connection``, ``answer`` (none that fits the question), ``overflow`` (as
    many requests under way as the client holds open)."""
    wrong_version_answers: int = 0
    """Answers that another version gave: what was measured is not this candidate."""
    unsent: int = 0
    """Requests that were due and were not sent, because the client could not keep up."""
    stopped_early: bool = False
    """A failure was shown before the time was over."""
    seconds: float
    declared_rps: float
    plateau_rps: float
    """Requests really sent per second after the ramp."""
    lag_p99_ms: float
    """How late the client itself was in sending; its own fault, not the candidate's."""
    percentiles_ms: dict[str, float] = {}
    """Of the plateau, failed requests as slower than all others; 1e9 where the percentile was never answered."""
    shown: list[ShareShown] = []
    histogram: dict[str, int] = {}
    """Requests of the plateau by the upper edge of their latency bucket in milliseconds; edges grow by 2 %."""
    per_second: list[list[float]] = []
    """Second, sent, answered, errors, worst latency in milliseconds."""
    plot: str | None = None
    report: str | None = None
    """URIs of the picture and of all figures."""
