"""Hypothesis for all tests: no deadlines, since a test that shares two cores with an Envoy may be slow now and then."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("kvgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kvgate")
