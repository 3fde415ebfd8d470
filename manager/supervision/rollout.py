"""Which instances to start and to stop next: a pure function of those there are and of those there should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manager.supervision.managed_instance import ManagedInstance


@dataclass(frozen=True)
class Steps:
    """What to do now; the rest follows when this has had its effect."""

    start: int
    stop: tuple[ManagedInstance, ...]


def next_steps(
    instances: Sequence[ManagedInstance], *, wanted: int, generation: int, rolling: bool, exclusive: bool
) -> Steps:
    """Towards `wanted` instances of `generation`.

    Rolling: a successor is started beside the old ones, one more than wanted at the most, and an old one goes for each
    that is ready. Otherwise the old ones go first, and the successors wait until the last of them has ended. Of too
    many those go first that are not ready. Exclusive: nothing is started while any process is there, since only one can
    hold the agent's port.
    """
    going = [instance for instance in instances if instance.stop is None]
    current = sorted((each for each in going if each.generation == generation), key=lambda each: not each.ready)
    outdated = sorted((each for each in going if each.generation < generation), key=lambda each: each.ready)
    # What is being ended for a failure keeps its place until its end has been counted against the agent.
    failing = sum(instance.failure is not None for instance in instances)
    surplus = current[wanted:]
    missing = max(0, wanted - len(current) - failing)
    if exclusive and instances:
        missing = 0
    if not rolling:
        blocked = any(instance.generation < generation for instance in instances)
        return Steps(0 if blocked else missing, (*outdated, *surplus))
    ready = sum(instance.ready for instance in current[:wanted])
    dispensable = outdated[: max(0, len(outdated) - (wanted - ready))]
    room = max(0, wanted + 1 - len(going))
    return Steps(min(missing, room), (*dispensable, *surplus))
