"""The other supervisors, from PyPI, in a virtual environment of their own."""

from __future__ import annotations

from scripts.benchmarks.environment import Environment

PACKAGES = ("supervisor==4.3.0", "circus==0.19.0")

_ENVIRONMENT = Environment("peers", PACKAGES)

program = _ENVIRONMENT.program
install = _ENVIRONMENT.install
