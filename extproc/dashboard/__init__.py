"""The dashboard: one web page for those who run the gateway, as files. Whoever serves them asks `asset`."""

from extproc.dashboard.assets import asset

__all__ = ["asset"]
