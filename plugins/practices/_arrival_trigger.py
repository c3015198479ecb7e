"""The former name of ``practices._arrivals.trigger`` until 0.2.0, for tasks deferred before the upgrade."""

from practices._arrivals.trigger import ArrivalTrigger, LateArrivals

__all__ = ["ArrivalTrigger", "LateArrivals"]
