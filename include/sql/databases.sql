-- One server, three databases, a role for each part: Airflow's, MLflow's, and two for the ledger that outlives both.
-- The ledger's table and guards belong to ledger_owner; ledger_writer adds lines and reads them, and nothing else.
\getenv airflow_password AIRFLOW_DB_PASSWORD
\getenv mlflow_password MLFLOW_DB_PASSWORD
\getenv owner_password LEDGER_OWNER_PASSWORD
\getenv writer_password LEDGER_DB_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE ledger_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE ledger_writer LOGIN PASSWORD :'writer_password';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE ledger OWNER ledger_owner;
REVOKE CONNECT ON DATABASE airflow, mlflow, ledger FROM PUBLIC;
GRANT CONNECT ON DATABASE ledger TO ledger_writer;
\connect ledger
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ledger_owner;
GRANT USAGE ON SCHEMA public TO ledger_writer;
CREATE SCHEMA incidents AUTHORIZATION ledger_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE ledger_owner IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO ledger_writer;
