"""Cgroups of instances that nobody will take away: their managers and fork servers were killed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from agent_service.cgroup import Cgroup, find_cgroups, instance_groups
from agent_service.contract import ENV_FLEET
from agent_service.plurals import count_text
from agent_service.proc import read_variables
from manager.diagnosis.finding import Finding, warning, well
from manager.diagnosis.leftovers import living_instances
from manager.diagnosis.naming import listed, process_text
from manager.diagnosis.surroundings import Surroundings
from manager.supervision.identity import fleet_of

# A younger one may be that of an instance which starts or ends this very moment.
_SETTLED_SECONDS = 60.0


def check_cgroups(around: Surroundings) -> Iterator[Finding]:
    """Those that we may remove; where there are none and can be none, there is nothing to say."""
    if around.config is None:
        return
    groups = instance_groups()
    if not groups and not find_cgroups().can_be:
        return
    keepers = _Keepers(around, around.config.state_directory)
    holding = {each: group.processes() for each, group in groups.items()}
    kept = [each for each, pids in holding.items() if pids and not keepers.look_after(each, pids)]
    empty = [groups[each] for each, pids in holding.items() if not pids and _has_settled(groups[each], around)]
    for each in kept:
        yield _populated(groups[each], holding[each])
    for parent, left in groupby(sorted(group.path for group in empty), lambda path: path.parent):
        yield _empty(parent, list(left))
    if not kept and not empty:
        yield well("cgroups", "No cgroup of an agent is left over")


class _Keepers:
    """Who takes care of a group: the manager that runs, the next one, or that of another fleet."""

    def __init__(self, around: Surroundings, state_directory: Path) -> None:
        self._fleet = fleet_of(state_directory)
        self._is_running = around.holder is not None
        living = () if self._is_running else living_instances(state_directory)
        self._waiting = {each.instance_id for each in living}

    def look_after(self, instance_id: str, pids: Sequence[int]) -> bool:
        """Whether one of them will end what lives in the group of that instance."""
        if instance_id in self._waiting:
            return True
        fleets = {read_variables(pid).get(ENV_FLEET) for pid in pids} - {None}
        if self._fleet in fleets:
            return self._is_running
        # The managers of a fleet come and go with its state directory.
        return any(Path(str(fleet)).is_dir() for fleet in fleets)


def _has_settled(group: Cgroup, around: Surroundings) -> bool:
    try:
        return around.clock.now().timestamp() - group.path.stat().st_mtime > _SETTLED_SECONDS
    except OSError:
        return False


def _populated(group: Cgroup, pids: Sequence[int]) -> Finding:
    held = listed([process_text(pid) for pid in pids])
    message = f"{group.path} is left over, and no manager looks after what lives in it: {held}"
    path = shlex.quote(str(group.path))
    return warning("cgroups", message, f"`echo 1 > {path}/cgroup.kill` ends that, then `rmdir {path}` removes it")


def _empty(parent: Path, paths: Sequence[Path]) -> Finding:
    named = listed([path.name for path in paths])
    message = f"{count_text(len(paths), 'empty cgroup')} of agents left over in {parent}: {named}"
    remedy = f"`rmdir {shlex.quote(str(parent))}/agent-manager.*`, which leaves alone those that hold something"
    return warning("cgroups", message, remedy)
