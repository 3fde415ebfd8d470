"""The optional extras of this project: which of them an agent can require, and whether they are installed."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Literal

from agent_service import model_installation

Extra = Literal["openai", "ollama", "anthropic", "google", "local"]

# The modules that only the extra brings.
_MODULES: dict[Extra, tuple[str, ...]] = {
    "openai": ("langchain_openai",),
    "ollama": ("langchain_ollama",),
    "anthropic": ("langchain_anthropic",),
    "google": ("langchain_google_genai",),
    "local": ("xllamacpp", "langchain_openai"),
}


def is_installed(extra: Extra) -> bool:
    """Whether its modules are there; nothing of them is imported."""
    # It may have been installed while the manager ran.
    importlib.invalidate_caches()
    return all(find_spec(module) is not None for module in _MODULES[extra])


def how_to_install(extra: Extra) -> str:
    """What to do for it, as a clause."""
    return model_installation.how_to_install() if extra == "local" else f"pip install 'agent-manager[{extra}]'"
