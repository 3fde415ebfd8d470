"""`scripts/bench`: lists the benchmarks, or runs one.

Exit status: 0 measured, whether a goal was met or not · 1 could not be measured · 2 wrong usage · 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from agent_service.forkserver.linux import become_subreaper
from scripts.benchmarks import (
    agent,
    dashboard,
    forward,
    heartbeats,
    hop,
    logs,
    metrics,
    recover,
    scale,
    start,
    supervise,
    tail,
    tools,
    tracing,
)
from scripts.benchmarks.daemon import end_descendants
from scripts.benchmarks.machine import Others, describe
from scripts.benchmarks.options import BENCH_DIRECTORY, CannotMeasure, Options

BENCHMARKS: dict[str, Callable[[Options], Awaitable[None]]] = {
    "tail": tail.run,
    "logs": logs.run,
    "hop": hop.run,
    "forward": forward.run,
    "start": start.run,
    "recover": recover.run,
    "supervise": supervise.run,
    "scale": scale.run,
    "dashboard": dashboard.run,
    "heartbeats": heartbeats.run,
    "metrics": metrics.run,
    "tools": tools.run,
    "tracing": tracing.run,
    "agent": agent.run,
}


def main() -> int:
    """Run what argv asks for; answers the exit status."""
    arguments = _parser().parse_args()
    if arguments.name is None:
        for name, run in BENCHMARKS.items():
            print(f"{name:<10} {sys.modules[run.__module__].__doc__.splitlines()[0]}")
        return 0
    if sys.platform != "linux":
        print("The benchmarks read /proc and need Linux.", file=sys.stderr)
        return 1
    # Whatever detaches itself stays a descendant, and is found when all ends.
    become_subreaper()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _measure(arguments)
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        end_descendants()


def _measure(arguments: argparse.Namespace) -> int:
    BENCH_DIRECTORY.mkdir(exist_ok=True)
    print(describe(), flush=True)
    others = Others()
    with tempfile.TemporaryDirectory(dir=BENCH_DIRECTORY, prefix=f"{arguments.name}-") as scratch:
        options = Options(arguments.runs, arguments.quick, Path(scratch), arguments.agents)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(BENCHMARKS[arguments.name](options))
        finally:
            # Before the directory goes: a process that still runs would write into it.
            end_descendants()
    print(others.describe())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure agent-manager beside its peers.", allow_abbrev=False
    )
    parser.add_argument("name", nargs="?", choices=BENCHMARKS, help="all are listed without it")
    parser.add_argument("--runs", type=_count, metavar="N", help="how often each thing is measured")
    parser.add_argument("--agents", type=_count, metavar="N", help="supervise, heartbeats: how many agents")
    parser.add_argument("--quick", action="store_true", help="small sizes and few runs: to see that it works")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 10000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
