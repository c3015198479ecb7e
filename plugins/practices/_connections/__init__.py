"""The only way from a practice to the outside, by Airflow's connections."""
