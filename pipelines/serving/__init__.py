"""The gateway: answers predictions in processes of its own, with Airflow and MLflow down."""
