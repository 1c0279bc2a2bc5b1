"""What Envoy is told: clusters and endpoints over ADS, and the configuration it starts with."""
