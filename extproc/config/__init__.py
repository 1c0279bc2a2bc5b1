"""One YAML file -> `Settings` (what was written) -> `Topology` (who serves what)."""
