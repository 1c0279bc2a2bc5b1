"""Benchmarks of KVGate; see README.md."""
