"""A real manager in a process of its own, driven from outside: by its command, its output and HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.integration.output_lines import OutputLines

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from manager.cli.main import main; main()", "up")
DEADLINE_SECONDS = 45.0


def until(condition: Callable[[], T | None], what: str | Callable[[], str], *, seconds: float = DEADLINE_SECONDS) -> T:
    """What `condition` answers as soon as that is true; an AssertionError naming `what` when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"did not happen within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)


def write_config(directory: Path, agents: Sequence[dict[str, Any]], **runtime: Any) -> Path:
    """A config in `directory` whose heartbeats are quick."""
    path = directory / "agents.config.json"
    values = {"heartbeatIntervalSeconds": 0.5, "heartbeatTtlSeconds": 30, **runtime}
    path.write_text(json.dumps({"runtime": values, "agents": list(agents)}), encoding="utf-8")
    return path


class ManagerProcess:
    """`agent-manager up` on a free port. `output` holds what it has printed so far."""

    def __init__(
        self,
        config: Path,
        *arguments: str,
        command: Sequence[str] = COMMAND,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = config.parent
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MANAGER_TOKEN")}
        self.process = subprocess.Popen(
            [*command, "--config", str(config), "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **(environment or {})},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._lines = OutputLines(self.process.stdout)
        self.output = self._lines.all
        self.url = self._lines.find(r"agent-manager \S+ at (http://\S+?),", seconds=DEADLINE_SECONDS)
        token = (environment or {}).get("MANAGER_TOKEN")
        headers = {"X-Manager-Token": token} if token else {}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=DEADLINE_SECONDS, trust_env=False)
        until(self._is_ready, f"the manager is ready: {self.output}")

    def agent(self, agent_id: str) -> dict[str, Any]:
        """Its row of the listing."""
        listing = self.http.get("/api/agent-services").json()["agents"]
        return next(row for row in listing if row["id"] == agent_id)

    def wait_for(self, agent_id: str, *states: str, seconds: float = DEADLINE_SECONDS) -> dict[str, Any]:
        """The agent's row, once its state is one of `states`."""

        found: dict[str, Any] = {}

        def row() -> dict[str, Any] | None:
            found.update(self.agent(agent_id))
            return found if found["state"] in states else None

        return until(
            row, lambda: f"{agent_id} becomes {' or '.join(states)}; it is {found} after {self.output}", seconds=seconds
        )

    def start(self, agent_id: str) -> dict[str, Any]:
        """Its row, once it is running and ready."""
        self.act(agent_id, "start")
        row = self.wait_for(agent_id, "running")
        assert row["ready"]
        return row

    def act(self, agent_id: str, action: str, **body: Any) -> dict[str, Any]:
        """The answer to an action that must be accepted."""
        answer = self.post(agent_id, "action", {"action": action, **body})
        assert answer.status_code == 202, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def execute(self, agent_id: str, **parameters: Any) -> httpx.Response:
        """The answer to an execute, whatever it is."""
        return self.post(agent_id, "execute", {"parameters": parameters})

    def post(self, agent_id: str, what: str, body: Any) -> httpx.Response:
        """The answer to `body` as JSON."""
        return self.http.post(f"/api/agent-services/{agent_id}/{what}", json=body)

    def events(self, agent_id: str) -> list[dict[str, Any]]:
        """The agent's history, oldest first."""
        params = {"agent": agent_id, "limit": 1000}
        found: list[dict[str, Any]] = self.http.get("/api/events", params=params).json()["events"]
        return found

    def log(self, agent_id: str) -> str:
        """The agent's newest log lines."""
        lines = self.http.get(f"/api/agent-services/{agent_id}/logs", params={"lines": 1000}).json()["lines"]
        return "\n".join(lines)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Its exit status after a signal; every process that it started must have ended."""
        self.process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it ends by itself."""
        status = self.process.wait(DEADLINE_SECONDS)
        self._lines.join(DEADLINE_SECONDS)
        self.http.close()
        return status

    def close(self) -> None:
        """Leave nothing running, whatever happened."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.http.close()
        self._lines.close(DEADLINE_SECONDS)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.output
        try:
            return self.http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running_manager(config: Path, *arguments: str, **options: Any) -> Iterator[ManagerProcess]:
    """A manager that is gone, with all its agents, when the scope ends."""
    manager = ManagerProcess(config, *arguments, **options)
    try:
        yield manager
    finally:
        manager.close()
