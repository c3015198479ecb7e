"""Airworthy's engine: everything a model's life needs, importable without Airflow."""
