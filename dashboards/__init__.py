"""Grafana's dashboards as typed code; `python -m dashboards` writes them as JSON to deploy/grafana/dashboards."""
