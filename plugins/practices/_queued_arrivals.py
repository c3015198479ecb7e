"""The former name of ``practices._arrivals.sqs_trigger`` until 0.2.0, for watchers in Airflow's database."""

from practices._arrivals.sqs_trigger import QueuedArrivals

__all__ = ["QueuedArrivals"]
