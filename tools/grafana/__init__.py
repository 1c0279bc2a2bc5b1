"""The Grafana dashboard as code: `make grafana`, or `python -m tools.grafana`."""
