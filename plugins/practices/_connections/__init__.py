"""Opens ports, queues and clusters for practices, by Airflow's connections."""
