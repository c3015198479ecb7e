"""Messages about a candidate before it gets traffic: bundle, inspection, checklist and load test."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AliasChoices, Field

from pipelines.messages.message import Message
from pipelines.messages.training import ModelDigests


class BundleRequest(Message):
    model: str
    version: str
    digests: ModelDigests
    """The version's digests on the ledger."""


class BundleResult(Message):
    """``bundles/<model>/<version>/``: the files that the gateway serves, compared with the registered model."""

    model: str
    version: str
    uri: str
    predictor: Literal["onnx", "native"]
    sha256: str
    """Digest over the bundle's files."""
    model_digest: str
    parity_rows: int
    largest_difference: float
    notes: list[str] = []


class LiveState(Message):
    """The live version of a model at its deployment target."""

    model: str
    version: str | None = None
    previous: str | None = None
    generation: int = 0
    bundle_sha256: str | None = None
    workers: int = 0
    applied: bool = True
    """Whether every live worker answers with this generation."""
    log_set_aside: int = 0
    """Records of the gateway's prediction log about this model that cannot be converted to Parquet."""


class InspectionRequest(Message):
    """``champion`` is the version that is live now; None: there is none."""

    bundle: BundleResult
    champion: str | None = None
    digests: ModelDigests
    """The version's digests on the ledger."""
    semantic_versions: dict[str, str] = {}
    """Version to its semantic version on the ledger."""


class BundleColumn(Message):
    """One column of a bundle's contract; ``minimum`` and ``maximum`` where the feature declares them."""

    name: str
    type: str
    minimum: float | None = None
    maximum: float | None = None


class BundleContract(Message):
    """A version's input columns, and its output: a ``probability`` or a ``value``."""

    version: str
    semantic: str | None = None
    output: str
    columns: list[BundleColumn]


class LoggedTraffic(Message):
    """Callers' requests in the prediction log."""

    requests: float
    since: datetime
    until: datetime
    per_day: float


class StageDesign(Message):
    """One stage of a rollout: the requests of both versions together, and the maximum duration."""

    share: int
    """Basis points of the candidate."""
    requests_to_pass: int | None = None
    """Requests until a candidate equal to its champion has passed every limit (power 80 %); None: no number of them
    suffices."""
    requests_to_find: int | None = None
    """Requests until a candidate ``expected_ratio`` times as bad is shown worse than the champion (power 80 %); None:
    nothing is compared, or no number of them suffices."""
    held: float | None = None
    """Chance that the equal candidate is held at the end of ``seconds``, at the traffic of late; None: not known."""
    found: float | None = None
    """Chance that the worse candidate is found within ``seconds``; None: not known, or nothing is compared."""
    seconds: float
    """Maximum duration of this stage."""


class BundleInspection(Message):
    """One bundle as stored, with every claim in its files verified by an independent check."""

    model: str
    version: str
    bundle_bytes: int
    predictor: str
    faults: list[str] = []
    """Files that are missing or differ from the manifest's digests, and a manifest that differs from the bundle's."""
    altered: list[str] = []
    """Model files that differ from a new conversion of the registered model."""
    pickles: list[str] = []
    """Files that hold a pickle."""
    model_digest: str | None = None
    """sha256 of the registered model's current file; None: it could not be loaded, ``faults`` says why."""
    judged_digest: str | None = None
    """sha256 of the model that the gates judged, if the registered one was trained again on all rows."""
    rows: int = 0
    """Rows on which the bundle's predictor and the registered model were compared."""
    largest_difference: float | None = None
    flips: int = 0
    edge_rows: int = 0
    """Compared rows with a null, unseen or extreme value; the first row is all null."""
    edge_faults: list[str] = []
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    """Latency of one row by the bundle's predictor, without the network."""
    calls: int = 0
    contract: BundleContract | None = None
    untyped: list[str] = []
    """Columns without a type in ``schema.json``."""
    champion: BundleContract | None = None
    champion_fault: str | None = None
    """Why the live version's contract could not be read."""
    contract_changes: list[str] = []
    """Changes of the contract for callers of the live version."""
    narrowed: list[str] = []
    """Ranges that exclude values which the live version accepts."""
    traffic: LoggedTraffic | None = None
    """None: no request was logged in the last seven days."""
    design: list[StageDesign] = []
    plan_faults: list[str] = []
    """Why the declared rollout cannot fail, cannot be decided, or is not supported."""
    load_test_fault: str | None = None
    """Why the target's candidate cannot be load-tested."""
    load_test_needs: dict[str, int] = {}
    """Minimum requests to show each assertion of the load test, even for a perfect candidate."""
    notes: list[str] = []


class ReleaseFacts(Message):
    """The facts about a version to deploy from ledger and target, and who triggered the deployment."""

    gates: dict[str, str] = {}
    """Outcome by gate, for this model file."""
    approval_digest: str | None = None
    ledger_faults: list[str] = []
    sealed_lines: list[str] = []
    """Lines of the version that prove nothing, since a repair of the ledger sealed them."""
    champion: str | None = None
    champion_sha256: str | None = None
    drill: str | None = None
    """Outcome of the newest rollback drill; None: there was none."""
    drillable: bool = True
    """Whether a version that was live before can serve as a drill's candidate."""
    by_hand: bool = False
    deployer: str | None = None
    """Who triggered the run manually; None: nobody, or an unnamed person."""
    authors: list[str] = []
    """Who trained the version or started the run, and so may not approve it."""
    users_known: bool = False
    """Whether Airflow says who its users are."""
    unable: dict[str, str] = {}
    """Approvers who cannot answer in Airflow, each with the reason; empty if the users are not known."""
    disagreements: list[str] = []
    """What ledger and registry say otherwise than the target about the versions of the model."""


class ChecklistItem(Message):
    """One item of the checklist; ``why`` lists the reasons of its result."""

    item: str
    result: Literal["PASS", "FAIL", "UNKNOWN", "WAIVED", "WARNING"]
    why: list[str]


class LoadTestRequest(Message):
    """Load-test the prepared candidate of a rollout at its declared rate."""

    model: str
    version: str
    rollout_id: str
    probe: str | None = None
    """Secret of the requests that reach a model's first version; None: it is the candidate of the rollout."""


class ShareEvidence(Message):
    """The evidence of the plateau's requests for one share: ``bad`` of ``total``, compared with ``limit``.

    ``above`` and ``below`` are the natural logs of the evidence that the true share is beyond, or within, the limit;
    ``needed_total`` is how many requests would show it within the limit at the observed share; None: no number would.
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
    """Latencies in milliseconds from the time at which a request was due, so that stalls are included."""

    model: str
    version: str
    rollout_id: str
    sent: int
    answered: int
    errors: dict[str, int] = {}
    """By kind: ``status 503``, ``timeout``, ``connection``, ``answer`` (none that fits the question), ``overflow`` (as
    many requests under way as the client holds open)."""
    wrong_version_answers: int = Field(default=0, validation_alias=AliasChoices("wrong_version_answers", "strangers"))
    """Answers that another version gave: what was measured is not this candidate."""
    unsent: int = 0
    """Requests that were due and were not sent, because the client could not keep up."""
    stopped_early: bool = False
    """Whether the test ended early because a failure was already shown."""
    seconds: float
    declared_rps: float
    plateau_rps: float
    """Requests sent per second after the ramp."""
    lag_p99_ms: float
    """Delay of the client itself in sending, which is not the candidate's."""
    percentiles_ms: dict[str, float] = {}
    """Latency percentiles of the plateau, with failed requests as slowest; 1e9 if that request failed."""
    shown: list[ShareEvidence] = []
    histogram: dict[str, int] = {}
    """Requests of the plateau by the upper edge of their latency bucket in milliseconds; edges grow by 2 %."""
    per_second: list[list[float]] = []
    """Second, sent, answered, errors, worst latency in milliseconds."""
    plot: str | None = None
    report: str | None = None
    """URIs of the picture and of all figures."""
