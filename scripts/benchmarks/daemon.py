"""The process that is measured: started with a log, and ended with everything that it has started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from agent_service.log_tail import tail
from scripts.benchmarks.options import ROOT, CannotMeasure

_ROUNDS = 100
_ROUND_SECONDS = 1.0


@contextmanager
def running(command: Sequence[str | Path], log_file: Path) -> Iterator[int]:
    """A process while inside; yields its pid. One at a time: leaving ends every descendant of this process.

    What fails inside with `CannotMeasure` gets the end of its log.
    """
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=_environment(),
            start_new_session=True,
        )
    try:
        yield process.pid
    except CannotMeasure as error:
        words = "\n".join(tail(log_file, 10))
        raise CannotMeasure(f"{error}\nThe last lines of {Path(command[0]).name}:\n{words}") from error
    finally:
        # The parent first: it would start its children again.
        process.kill()
        process.wait()
        end_descendants()


def end_descendants() -> None:
    """Kill every process that this one has started, and those that they have; what detached itself included."""
    me = psutil.Process()
    for _ in range(_ROUNDS):
        left = me.children(recursive=True)
        if not left:
            return
        for process in left:
            _kill(process)
        psutil.wait_procs(left, timeout=_ROUND_SECONDS)
    raise CannotMeasure(f"Still running after SIGKILL: {', '.join(str(process.pid) for process in left)}.")


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        pass


def _environment() -> dict[str, str]:
    """Ours without what would change a manager's settings or its adapters'."""
    foreign = ("AGENT_", "MANAGER_TOKEN")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
