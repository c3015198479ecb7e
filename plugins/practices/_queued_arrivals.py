"""The former name of ``practices._arrivals.sqs_trigger``, kept until 0.2.0.

The reason: an asset's watcher in Airflow's database is named by it.
"""

from practices._arrivals.sqs_trigger import QueuedArrivals

__all__ = ["QueuedArrivals"]
