"""What is put beside the exporter to run it: Compose, Prometheus, Alertmanager, Grafana, client environments."""
