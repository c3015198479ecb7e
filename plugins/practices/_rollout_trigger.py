"""The former name of ``practices._rollouts.trigger``, kept until 0.2.0.

The reason: a deferred task in Airflow's database names its trigger by it.
"""

from practices._rollouts.trigger import RolloutWatch

__all__ = ["RolloutWatch"]
