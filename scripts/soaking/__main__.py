"""`scripts/soak`: load with chaos, then a verdict.

Exit status: 0 nothing leaks and nothing failed · 1 otherwise · 2 wrong usage · 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from agent_service.forkserver.linux import become_subreaper
from scripts.benchmarks.daemon import end_descendants
from scripts.benchmarks.fleet import DUMMY, Agent
from scripts.benchmarks.options import BENCH_DIRECTORY, CannotMeasure
from scripts.benchmarks.ports import free_ports
from scripts.benchmarks.systems.agent_manager import AgentManager, agent_manager
from scripts.soaking.load import KILLED, RESTARTED, STEADY, Load
from scripts.soaking.readings import Reading, leaks, read, slope

_WARM_UP_SECONDS = 5.0
# Longer than the manager keeps an idle connection, be it to an adapter or a client's.
_QUIET_SECONDS = 18.0
_READINGS = 60


def main() -> int:
    """Run as argv says; answers the exit status."""
    arguments = _parser().parse_args()
    if sys.platform != "linux":
        print("The soak reads /proc and needs Linux.", file=sys.stderr)
        return 1
    become_subreaper()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    BENCH_DIRECTORY.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=BENCH_DIRECTORY, prefix="soak-") as scratch:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    return runner.run(_soak(Path(scratch), arguments.minutes * 60, arguments.seed))
            finally:
                end_descendants()
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _soak(directory: Path, seconds: float, seed: int) -> int:
    print(f"Seed {seed}, {seconds:.0f} s of load", flush=True)
    ports = free_ports(3)
    agents = [
        Agent(agent_id, DUMMY, port, autostart=True)
        for agent_id, port in zip((STEADY, RESTARTED, KILLED), ports, strict=True)
    ]
    async with agent_manager(directory, agents) as manager:
        load = Load(manager.port, seed)
        # 1. Pools, caches and pages of the allocator are filled.
        await load.run(_WARM_UP_SECONDS)
        await asyncio.sleep(_QUIET_SECONDS)
        before = await read(manager.port)
        # 2. Under load.
        during = await _under_load(manager, load, seconds)
        # 3. What is open now is open for ever.
        await asyncio.sleep(_QUIET_SECONDS)
        after = await read(manager.port)
    return _verdict(load, before, during, after)


async def _under_load(manager: AgentManager, load: Load, seconds: float) -> list[Reading]:
    running = asyncio.create_task(load.run(seconds), name="load")
    readings = []
    while not running.done():
        readings.append(await read(manager.port))
        await asyncio.wait({running}, timeout=seconds / _READINGS)
    running.result()
    return readings


def _verdict(load: Load, before: Reading, during: list[Reading], after: Reading) -> int:
    print("Answers:", ", ".join(f"{agent} {status}: {n}" for (agent, status), n in sorted(load.answers.items())))
    print("Disturbances:", ", ".join(f"{what}: {n}" for what, n in sorted(load.disturbances.items())))
    for what, reading in (("before", before), ("after", after)):
        print(
            f"Quiet {what}: {reading.memory / 1e6:.1f} MB, {reading.descriptors:.0f} descriptors, "
            f"{reading.tasks:.0f} asyncio tasks"
        )
    print(f"Memory under load: {slope(during) * 60 / 1e6:+.2f} MB per minute over the later half")
    problems = [*leaks(before, during, after), *load.wrong[:20]]
    for problem in problems:
        print(f"WRONG: {problem}")
    failed = f"{len(load.wrong)} requests failed that should not have" if load.wrong else "no request failed wrongly"
    print(f"Verdict: {'FAILED' if problems else 'passed'}; {failed}")
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Load with chaos.", allow_abbrev=False)
    parser.add_argument("minutes", type=_minutes, nargs="?", default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="that of an earlier run")
    return parser


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes above 0")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
