"""The gateway: answers predictions in a process of its own, with Airflow and MLflow down."""
