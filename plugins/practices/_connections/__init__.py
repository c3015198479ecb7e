"""Opens ports, queues and clusters for operators by Airflow connections."""
