"""circusd with its default settings, commanded over ZeroMQ by circus's own client."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from scripts.benchmarks.client import HOST
from scripts.benchmarks.daemon import running
from scripts.benchmarks.fleet import Agent
from scripts.benchmarks.options import ROOT, CannotMeasure
from scripts.benchmarks.peers import program
from scripts.benchmarks.ports import free_ports
from scripts.benchmarks.systems.system import CONTROL_SECONDS

_DAEMON = """\
[circus]
endpoint = tcp://{host}:{ports[0]}
pubsub_endpoint = tcp://{host}:{ports[1]}
"""
_WATCHER = """
[watcher:{id}]
cmd = {command}
working_dir = {root}
copy_env = True
autostart = {autostart}
"""
_LOGS = """\
stdout_stream.class = FileStream
stdout_stream.filename = {logs}/{id}.log
stdout_stream.max_bytes = 67108864
stdout_stream.backup_count = 4
"""
# Says a line when circusd answers; then starts the watchers named on each line that it reads, and says a line. It has
# imported the client before anything is measured, which `circusctl start` has not.
_CLIENT = f"""
import sys
from circus.client import CircusClient
client = CircusClient(endpoint=sys.argv[1], timeout={CONTROL_SECONDS})
print(client.send_message("numwatchers")["status"], flush=True)
for line in sys.stdin:
    answers = [client.send_message("start", name=name, match="simple", waiting=True) for name in line.split()]
    print(next((a["reason"] for a in answers if a["status"] != "ok"), "ok"), flush=True)
"""


class Circus:
    """A circusd that runs."""

    def __init__(self, pid: int, client: subprocess.Popen[str]) -> None:
        self.pid = pid
        self._client = client

    async def start(self, agents: Sequence[Agent]) -> None:
        """Start these, one order after the other: circusd refuses an order while it carries out one.

        Raises `CannotMeasure`.
        """
        await asyncio.to_thread(self._order, " ".join(agent.id for agent in agents))

    def _order(self, line: str) -> None:
        assert self._client.stdin is not None
        self._client.stdin.write(f"{line}\n")
        self._client.stdin.flush()
        _require_ok(self._client)


@asynccontextmanager
async def circus(directory: Path, agents: Sequence[Agent], *, writes_logs: bool = False) -> AsyncIterator[Circus]:
    """A circusd of these agents; see `Opener`. `writes_logs`: it reads their output and rotates it, which is not its
    default.
    """
    ports = free_ports(2, besides=[agent.port for agent in agents])
    config = directory / "circus.ini"
    text = _config(ports, agents, directory if writes_logs else None)
    config.write_text(text, encoding="utf-8")
    with (
        running((program("circusd"), config), directory / "output.log") as pid,
        _client(f"tcp://{HOST}:{ports[0]}") as client,
    ):
        await asyncio.to_thread(_require_ok, client)
        yield Circus(pid, client)


@contextmanager
def _client(endpoint: str) -> Iterator[subprocess.Popen[str]]:
    command = (program("python"), "-c", _CLIENT, endpoint)
    # In a session of its own, so that Ctrl-C is for us alone.
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    with client:
        try:
            yield client
        finally:
            client.kill()


def _require_ok(client: subprocess.Popen[str]) -> None:
    """Wait for the client's next line. Raises `CannotMeasure` where it tells of an error."""
    assert client.stdout is not None
    said = client.stdout.readline().strip()
    if said != "ok":
        raise CannotMeasure(f"circusd did not obey: {said or 'its client ended'}.")


def _config(ports: Sequence[int], agents: Sequence[Agent], log_directory: Path | None) -> str:
    logs = "" if log_directory is None else _LOGS
    watchers = (
        (_WATCHER + logs).format(
            id=agent.id, command=shlex.join(agent.adapter), root=ROOT, autostart=agent.autostart, logs=log_directory
        )
        for agent in agents
    )
    return _DAEMON.format(host=HOST, ports=ports) + "".join(watchers)
