"""The gateway: answers predictions in its own processes, even while Airflow and MLflow are down."""
