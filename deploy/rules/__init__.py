"""The recording and alert rules as tables; `python -m deploy.rules` writes them as YAML for Prometheus."""
