"""Hypothesis profiles, loaded before any test is imported, since tests take them over as they are defined.

By default examples are the same in every run, so that a red test is about the change at hand. HASTE_THOROUGH=1 draws
many times more, anew in every run.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.operator.threads import THOROUGH

# A backend and an instruction set are the same for every example.
CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)

settings.register_profile("moderate", deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)
settings.register_profile("thorough", deadline=None, print_blob=True, suppress_health_check=CHECKS)
settings.load_profile("thorough" if THOROUGH else "moderate")
