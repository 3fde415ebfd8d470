"""supervisord with its default settings, commanded over XML-RPC."""

from __future__ import annotations

import asyncio
import shlex
import xmlrpc.client
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.benchmarks.client import HOST, until_answered
from scripts.benchmarks.daemon import running
from scripts.benchmarks.fleet import Agent
from scripts.benchmarks.options import ROOT, CannotMeasure
from scripts.benchmarks.peers import program
from scripts.benchmarks.ports import free_ports
from scripts.benchmarks.systems.system import CONTROL_EVERY, CONTROL_SECONDS

_DAEMON = """\
[supervisord]
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
childlogdir={directory}

[inet_http_server]
port={host}:{port}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = """
[program:{id}]
command={command}
directory={root}
autostart={autostart}
autorestart=true
redirect_stderr=true
stdout_logfile_maxbytes=64MB
stdout_logfile_backups=4
"""


class Supervisord:
    """A supervisord that runs."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._server = xmlrpc.client.ServerProxy(f"http://{HOST}:{port}/RPC2")

    async def start(self, agents: Sequence[Agent]) -> None:
        """Start these with one call. Raises `CannotMeasure`."""
        await asyncio.to_thread(self._start, agents)

    def _start(self, agents: Sequence[Agent]) -> None:
        # Not by xmlrpc.client.MultiCall: supervisord answers with bare values where it expects lists of one.
        calls = [{"methodName": "supervisor.startProcess", "params": [agent.id, False]} for agent in agents]
        answers = self._server.system.multicall(calls)
        if refusals := [answer for answer in answers if answer is not True]:
            raise CannotMeasure(f"supervisord refused to start {len(refusals)} agents: {refusals[0]}.")


@asynccontextmanager
async def supervisord(directory: Path, agents: Sequence[Agent]) -> AsyncIterator[Supervisord]:
    """A supervisord of these agents; see `Opener`."""
    (port,) = free_ports(1, besides=[agent.port for agent in agents])
    config = directory / "supervisord.conf"
    config.write_text(_config(directory, port, agents), encoding="utf-8")
    command = (program("supervisord"), "--nodaemon", "--configuration", config)
    with running(command, directory / "output.log") as pid:
        await until_answered(port, "GET", "/", every=CONTROL_EVERY, seconds=CONTROL_SECONDS)
        yield Supervisord(pid, port)


def _config(directory: Path, port: int, agents: Sequence[Agent]) -> str:
    programs = (
        _PROGRAM.format(
            id=agent.id, command=shlex.join(agent.adapter), root=ROOT, autostart=str(agent.autostart).lower()
        )
        for agent in agents
    )
    return _DAEMON.format(directory=directory, host=HOST, port=port) + "".join(programs)
