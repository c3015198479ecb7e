"""The former name of ``practices._arrivals.trigger``, kept until 0.2.0.

The reason: a deferred task in Airflow's database names its trigger by it.
"""

from practices._arrivals.trigger import ArrivalTrigger, LateArrivals

__all__ = ["ArrivalTrigger", "LateArrivals"]
