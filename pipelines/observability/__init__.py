"""What Prometheus and Grafana get of us: metrics of Airflow and the ledger, alert rules, a dashboard."""
