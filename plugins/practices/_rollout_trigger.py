"""The former name of ``practices._rollouts.trigger`` until 0.2.0, for tasks deferred before the upgrade."""

from practices._rollouts.trigger import RolloutWatch

__all__ = ["RolloutWatch"]
