"""Compiled from proto/kvgate/admin/v1/admin.proto by `make proto`."""
