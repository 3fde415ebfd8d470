"""`version`."""

from __future__ import annotations

from manager.cli.output import print_line
from manager.version import __version__


def version() -> None:
    """Print the version of agent-manager."""
    print_line(f"agent-manager {__version__}")
