"""What is made for Kubernetes: the schema and the reference of the chart's values, and the kustomize bases.

The chart itself, deploy/helm/ibkr-exporter, is written by hand; its rules and dashboards are links to Compose's files.
"""
