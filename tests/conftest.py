"""What holds for the whole suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine and its neighbours, nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
