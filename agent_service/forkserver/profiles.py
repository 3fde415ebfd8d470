"""What a fork server is started with. Imports the standard library only: a start begins anew after reading this."""

from __future__ import annotations

from typing import Literal

Profile = Literal["light", "langgraph"]
PROFILES: tuple[Profile, ...] = ("light", "langgraph")

EXIT_ALREADY_RUNNING = 75
"""Exit status (sysexits EX_TEMPFAIL) of the start of a fork server whose socket path another one serves."""

MARK_VARIABLE = "AGENT_INSTANCE_ID"
"""`contract.ENV_INSTANCE_ID`, by which every process of an instance is known."""
