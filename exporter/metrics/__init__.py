"""From the states to the Prometheus text: the catalogue of metrics and their lines. Pure."""
