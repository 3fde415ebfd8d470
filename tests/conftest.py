"""For all tests: what a property's examples cost in time is the machine's affair, not a failure."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
