"""Airflow's auth managers, so that approvers are known by their log-in names."""
