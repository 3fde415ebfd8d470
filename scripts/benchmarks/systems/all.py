"""Every system that is measured, by name; ours first."""

from __future__ import annotations

from scripts.benchmarks.systems.agent_manager import agent_manager
from scripts.benchmarks.systems.circus import circus
from scripts.benchmarks.systems.supervisord import supervisord
from scripts.benchmarks.systems.system import Opener

SYSTEMS: dict[str, Opener] = {"agent-manager": agent_manager, "supervisord": supervisord, "circus": circus}
