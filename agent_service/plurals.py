"""Numbers of things in sentences."""

from __future__ import annotations


def count_text(count: int, noun: str) -> str:
    """`1 agent`, `2 agents`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
