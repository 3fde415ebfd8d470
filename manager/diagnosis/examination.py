"""All checks, in the order in which a person mends things."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from manager.diagnosis.cgroups import check_cgroups
from manager.diagnosis.clock import check_clock
from manager.diagnosis.configuration import check_config, check_extras, check_tokens
from manager.diagnosis.database import check_database
from manager.diagnosis.directories import check_disk, check_lock, check_log_directory, check_state_directory
from manager.diagnosis.finding import Finding
from manager.diagnosis.fork_servers import check_fork_servers
from manager.diagnosis.interpreter import check_packages, check_python
from manager.diagnosis.leftovers import check_leftovers
from manager.diagnosis.open_files import check_open_files
from manager.diagnosis.ports import check_ports
from manager.diagnosis.running_manager import check_manager
from manager.diagnosis.surroundings import Surroundings

Check = Callable[[Surroundings], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    check_python,
    check_packages,
    check_config,
    check_tokens,
    check_extras,
    check_state_directory,
    check_lock,
    check_database,
    check_log_directory,
    check_disk,
    check_open_files,
    check_ports,
    check_fork_servers,
    check_leftovers,
    check_cgroups,
    check_clock,
    check_manager,
)


def examine(around: Surroundings) -> Iterator[Finding]:
    """What every check finds; none of them changes anything. Without a right config, some have nothing to look at."""
    for check in CHECKS:
        yield from check(around)
