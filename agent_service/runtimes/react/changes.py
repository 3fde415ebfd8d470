"""What is different between two definitions."""

from __future__ import annotations

from collections.abc import Iterator

from agent_service.definition import AgentDefinition, DefinitionPart


def changed_paths(before: AgentDefinition, after: AgentDefinition) -> list[str]:
    """The paths of what differs, such as `behavior.system_prompt`; a list, or a schema, counts as one value."""
    return sorted(_paths(before, after, ""))


def _paths(before: DefinitionPart, after: DefinitionPart, prefix: str) -> Iterator[str]:
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        if isinstance(old, DefinitionPart) and isinstance(new, DefinitionPart):
            yield from _paths(old, new, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
