"""Proves by simulation, with the rules and steps that Airflow runs, what monitoring and retraining are worth."""
