"""For all tests: how Hypothesis tries, and that what is compiled is kept."""

from __future__ import annotations

import os
import sys

from hypothesis import HealthCheck, settings

# No deadlines, since a test that shares two cores with an Envoy may be slow now and then.
settings.register_profile("kvgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kvgate")

# Where an image turns bytecode off, every process of every gateway would compile the whole package again: as much time
# as all else that it does until it serves.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
