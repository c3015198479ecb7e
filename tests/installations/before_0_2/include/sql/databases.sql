-- One server, three databases: Airflow's own, MLflow's, and the ledger that outlives both.
CREATE DATABASE mlflow;
CREATE DATABASE ledger;
