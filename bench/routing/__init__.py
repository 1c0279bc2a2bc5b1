"""Routing on a virtual clock: the gateway's own routing code and its rivals, on simulated replicas, deterministic."""
