"""The demonstration: real flights land, are asked about and rolled out, driven by Airflow."""
