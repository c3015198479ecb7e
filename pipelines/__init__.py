"""Airworthy's library: every step, rule and adapter of a model's life cycle, importable without Airflow."""
