"""A model declares its data, target, training, gates, release and monitoring in one file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.spec.alerts import AlertRule
from pipelines.spec.cron import Cron
from pipelines.spec.dataset import NO_OWNER
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.deployment import Deployment
from pipelines.spec.live_inputs import LiveInputs
from pipelines.spec.retraining import Retraining
from pipelines.spec.runner import STAGES, StageRunner
from pipelines.spec.search import Search
from pipelines.spec.serving_objective import ServingObjective
from pipelines.spec.split import SplitSpec
from pipelines.spec.target import Target
from pipelines.spec.worth import Worth

CLASSIFICATION_METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier")
REGRESSION_METRICS = ("mae", "rmse", "r2", "mape")
Problem = Literal["classification", "regression"]
Stage = Annotated[str, Field(pattern=f"^({'|'.join(STAGES)})$")]
LARGEST_SEED = 2**31 - 1
"""XGBoost and scikit-learn take a seed of 31 bits alike."""
LOWER_IS_BETTER = ("log_loss", "brier", "mae", "rmse", "mape")
WITHOUT_SCALE = ("log_loss", "mae", "rmse")
"""Metrics without an upper end, whose default margin is a share of the champion's value."""
DEFAULT_MARGIN = 0.02
MINIMUM_UNITS, WANTED_UNITS = 20, 40
"""Days or entities below which the interval of a gain is not believed, and from which it decides well enough."""


class LearningRate(DeclarationBlock):
    """Learning rate by boosting round; ``plateau`` multiplies by ``factor`` after ``patience`` rounds without gain."""

    schedule: Literal["constant", "step", "cosine", "plateau"] = "constant"
    initial: float = Field(default=0.1, gt=0)
    minimum: float = Field(default=0.01, ge=0)
    step_every: int = Field(default=50, ge=1)
    factor: float = Field(default=0.5, gt=0, lt=1)
    patience: int = Field(default=10, ge=1)


class EarlyStopping(DeclarationBlock):
    enabled: bool = True
    metric: str | None = None
    """An estimator's own metric (``auc``, ``logloss``, ``rmse``, ``mae``); none: the problem's default."""
    patience: int = Field(default=20, ge=1)
    min_delta: float = Field(default=0.0, ge=0)
    mode: Literal["min", "max"] | None = None


class Checkpointing(DeclarationBlock):
    enabled: bool = True
    frequency: int = Field(default=25, ge=1)
    keep_best: int = Field(default=3, ge=1)


class CrossValidation(DeclarationBlock):
    folds: int = Field(ge=2, le=20)
    strategy: Literal["forward_chaining", "k_fold", "stratified"] = "forward_chaining"


class Estimator(DeclarationBlock):
    """``xgboost``: boosting with ``rounds``; ``sklearn``: any estimator named by ``class_path`` in ``sklearn.*``."""

    kind: Literal["xgboost", "sklearn"] = "xgboost"
    class_path: str | None = None
    rounds: int = Field(default=300, ge=1)
    parameters: dict[str, Any] = {}

    @model_validator(mode="after")
    def check_class_path(self) -> Self:
        if (self.kind == "sklearn") != (self.class_path is not None):
            raise ValueError("class_path is needed for kind sklearn and for nothing else")
        if self.class_path is not None and not self.class_path.startswith("sklearn."):
            raise ValueError(f"class_path {self.class_path!r} must lie in sklearn.*")
        return self


class OutOfCore(DeclarationBlock):
    """The training table is written, read and quantised in batches of rows; it is never in memory as a whole."""

    batch_rows: int = Field(default=1_000_000, ge=100)
    """Rows per file of the snapshot and per batch in memory. A day must fit in memory, too."""


class Training(DeclarationBlock):
    schedule: Cron = "0 7 * * 1"
    """Cron (UTC) of its trainings."""
    max_active: int = Field(default=1, ge=1, le=16, exclude=True)
    """How many runs may train this model at once. It does not affect the result, so no digest covers it."""
    history_days: int | None = Field(default=None, ge=1)
    """Only rows of this many days before the as-of date; none: all."""
    minimum_rows: int = Field(default=1000, ge=10)
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    features: list[str] | None = None
    """A subset of the view's features; none: all."""
    split: SplitSpec = SplitSpec()
    refit: bool | None = Field(default=None, exclude_if=lambda declared: declared is None)
    """Whether what is deployed is trained again on all rows, with the rounds of the model that was judged on the split.

    None: yes for ``time_ordered``, whose newest rows would be lost otherwise, and no for the others. Left out of
    digests where it is not declared.
    """
    estimator: Estimator = Estimator()
    learning_rate: LearningRate = LearningRate()
    early_stopping: EarlyStopping = EarlyStopping()
    checkpointing: Checkpointing = Checkpointing()
    cross_validation: CrossValidation | None = None
    search: Search | None = None
    experiment_tags: list[str] = []
    out_of_core: OutOfCore | None = Field(default=None, exclude_if=lambda declared: declared is None)
    """For data larger than memory; none: the table is held in memory. Left out of digests where it is not declared."""

    @property
    def refits(self) -> bool:
        return self.split.strategy == "time_ordered" if self.refit is None else self.refit

    @model_validator(mode="after")
    def check_out_of_core(self) -> Self:
        if self.out_of_core is None:
            return self
        method = self.estimator.parameters.get("tree_method", "hist")
        reasons = {
            f"estimator.kind is {self.estimator.kind}, which fits on all rows at once; use kind: xgboost": (
                self.estimator.kind != "xgboost"
            ),
            f"estimator.parameters.tree_method is {method!r}; only hist works on batches of quantised rows": (
                method not in ("hist", "auto")
            ),
            f"split.strategy is {self.split.strategy}, which ranks all rows at once; use time_ordered": (
                self.split.strategy != "time_ordered"
            ),
            "cross_validation needs all rows at once; remove it": self.cross_validation is not None,
            "search would read all rows for each trial; search without out_of_core, on a shorter history_days": (
                self.search is not None
            ),
        }
        faults = [reason for reason, holds in reasons.items() if holds]
        if faults:
            raise ValueError(f"out_of_core is not possible: {'; '.join(faults)}")
        return self


class Bound(DeclarationBlock):
    """A floor, a ceiling, or both; inclusive."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def check_has_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("declare min, max or both")
        return self


class Anchor(DeclarationBlock):
    """The best of the last ``versions`` certified versions, none older than ``days``, beside the champion.

    Candidate after candidate may lose less than the margin against its champion; against the anchor the losses add up.
    """

    versions: int = Field(default=10, ge=1)
    days: int = Field(default=365, ge=1)


class ComparisonSpec(DeclarationBlock):
    """A candidate goes on only if the interval of its gain begins at or above ``-margin`` (non-inferiority).

    ``require_improvement``: the interval must lie above zero instead. The interval leaves out one ``unit`` at a time.
    """

    metric: str
    margin: float | None = Field(default=None, ge=0)
    """Largest tolerated loss in the metric's unit; none: 0.02, and for mae, rmse and log_loss 2 % of the champion's."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    unit: str = "day"
    """What counts as independent: ``day`` (local), or a column whose values are entities (a customer, a machine)."""
    too_few_units: Literal["unknown", "point_estimate"] = "unknown"
    """What decides where fewer than 20 units can be compared: nobody, or the gain alone, which the verdict says."""
    anchor: Anchor | None = Anchor()
    """None: candidates are compared with the champion alone."""
    require_improvement: bool = False

    @model_validator(mode="before")
    @classmethod
    def drop_resamples(cls, declared: Any) -> Any:
        """``resamples`` was declared until 0.2.0; an interval by units draws none."""
        if isinstance(declared, dict):
            return {name: value for name, value in declared.items() if name != "resamples"}
        return declared

    def allowed_loss(self, champion: float) -> float:
        """The margin, where the champion's metric has this value."""
        if self.margin is not None:
            return self.margin
        return DEFAULT_MARGIN * abs(champion) if self.metric in WITHOUT_SCALE else DEFAULT_MARGIN

    def level(self, attempt: int) -> float:
        """Confidence of the interval of the n-th candidate that is compared on the same test rows.

        Of the error 1 - confidence the n-th attempt spends 1 / (n (n + 1)), on one side: the first has the declared
        interval, and all together pass a candidate that loses the margin with at most 1 - confidence.
        Source: the union bound; Lan and DeMets (1983) call it alpha spending.
        """
        return 1 - 2 * (1 - self.confidence) / (attempt * (attempt + 1))


class Slices(DeclarationBlock):
    """No slice of at least ``min_rows`` rows may be shown to lose, and by more than ``max_loss`` of ``metric``."""

    columns: list[str] = Field(min_length=1)
    metric: str
    max_loss: float = Field(ge=0)
    min_rows: int = Field(default=200, ge=1)
    false_refusals: float = Field(default=0.05, gt=0, lt=0.5)
    """How often a candidate that loses on no slice may be refused, all slices together."""


class EvaluationFields(DeclarationBlock):
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which a classification is positive."""
    slices: Slices | None = None


class Evaluation(EvaluationFields):
    minimum_metrics: dict[str, Bound] = Field(min_length=1)
    comparison: ComparisonSpec


class Drift(DeclarationBlock):
    """Whether a window differs from the training rows: only if a test is significant **and** its effect is large.

    Numeric features: two-sample KS on the profile's points; categorical: chi-squared; effect: PSI. A difference is told
    and fails nothing. What fails is a column that left its own recent past, which needs no limits.
    """

    window_days: int = Field(default=7, ge=1)
    p_value: float = Field(default=0.01, gt=0, lt=1)
    psi_threshold: float = Field(default=0.2, gt=0)
    feature_drift_threshold: float = Field(default=0.3, gt=0, le=1)
    """Share of differing features from which the data count as drifted."""
    prediction_drift_threshold: float = Field(default=0.2, gt=0)
    """PSI of the predictions from which they count as drifted."""
    minimum_rows: int = Field(default=500, ge=1)
    exclude: list[str] = []

    def is_drift(self, p_value: float, psi: float, psi_threshold: float) -> bool:
        """True if a column with these measures counts as drifting."""
        return p_value < self.p_value and psi >= psi_threshold


class Performance(DeclarationBlock):
    metric: str
    max_drop: float = Field(gt=0)
    """Allowed loss against the days of the version's own certificate (in the metric's unit)."""
    window_days: int = Field(default=7, ge=1)
    minimum_labels: int = Field(default=500, ge=1)


class MonitoringFields(DeclarationBlock):
    drift: Drift = Drift()
    live_inputs: LiveInputs = LiveInputs()
    """Limits of what callers send."""
    serving: ServingObjective = ServingObjective()
    """Limits of errors and latency, from which `airworthy alert-rules` writes rules for Prometheus."""
    retraining: Retraining = Retraining()
    label_horizon_days: int = Field(default=3, ge=0)
    """Predictions of this many earlier days are joined with labels again every day, so that late labels count."""
    max_unmeasured_days: int = Field(default=7, ge=0)
    """For how many data days a check may have too few rows or labels; then its task fails instead of being skipped."""


class Monitoring(MonitoringFields):
    performance: Performance


class ModelFields(DeclarationBlock):
    model: Identifier
    description: str = ""
    owner: str = Field(default=NO_OWNER, min_length=1)
    tags: list[str] = []
    view: Identifier
    """The feature view it is trained and served on."""
    training: Training = Training()
    alerts: list[AlertRule] = []
    """Who hears of which incident; none: the installation's ``default_channels`` hear of all."""
    worth: Worth | None = Field(default=None, exclude_if=lambda declared: declared is None)
    """What answers are worth and what the model costs; none: no amounts are reported."""
    deployment: Deployment = Deployment()
    runner: dict[Stage, StageRunner] = {}
    """The runner of each stage; a stage that is not named uses the installation's runner."""


class ModelSpec(ModelFields):
    """A model with its problem, its target, and what it is judged by."""

    problem: Problem
    target: Target
    evaluation: Evaluation
    monitoring: Monitoring

    @model_validator(mode="after")
    def check_problem(self) -> Self:
        problems = []
        known = CLASSIFICATION_METRICS if self.problem == "classification" else REGRESSION_METRICS
        named = {f"evaluation.minimum_metrics.{name}": name for name in self.evaluation.minimum_metrics}
        named["evaluation.comparison.metric"] = self.evaluation.comparison.metric
        named["monitoring.performance.metric"] = self.monitoring.performance.metric
        if self.evaluation.slices:
            named["evaluation.slices.metric"] = self.evaluation.slices.metric
        problems += [
            f"{where} is {metric!r}; a {self.problem} has {', '.join(known)}"
            for where, metric in named.items()
            if metric not in known
        ]
        problems += self.monitoring.retraining.faults(
            self.evaluation.comparison.metric, self.monitoring.performance.metric
        )
        problems += self.worth.faults(self.problem) if self.worth else []
        problems += [
            f"runner.{stage} has gpus or workers; only train can use GPUs or several workers"
            for stage, runner in self.runner.items()
            if stage != "train" and (runner.gpus or runner.workers > 1)
        ]
        train = self.stage_runner("train")
        if self.training.out_of_core and (train.gpus or train.workers > 1):
            problems.append("out_of_core needs one worker on its CPU; remove gpus and workers of runner.train")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def gpus_per_training(self) -> int:
        """GPUs that one training uses, over all its workers."""
        train = self.stage_runner("train")
        return train.gpus * train.workers

    def stage_runner(self, stage: str) -> StageRunner:
        """Where the steps of a stage run, and their resources."""
        return self.runner.get(stage, StageRunner())
