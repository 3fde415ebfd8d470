"""What goes on while a manager is killed again and again: clients, an operator, crashes, and what each may expect.

All of it is drawn from one seed. Threads interleave as the machine likes, so that a seed repeats the plan and not the
moment; it is printed, and CHAOS_SEED gives it again.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from agent_service.contract import ENV_INSTANCE_ID
from agent_service.descendants import kill
from agent_service.proc import Stat, all_stats, has_variable, read_variables
from tests.integration.manager_process import COMMAND, ROOT

MARK = "CHAOS_MARK"
_PAUSE_SECONDS = 0.02
_WIPE_SECONDS = 20.0
_DESIRED_AFTER = {"start": "running", "resume": "running", "pause": "paused", "stop": "stopped", "kill": "stopped"}
# Done, refused by its state, died under it, not there yet, and the task that a hasty stop has cancelled.
_HONEST = frozenset({200, 409, 500, 502, 503})


def seed() -> int:
    """That of CHAOS_SEED, else a new one; printed, so that a failure can be tried again."""
    chosen = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CHAOS_SEED={chosen}")  # noqa: T201 - pytest shows it with a failure
    return chosen


def quiet_port() -> int:
    """A free port below those that the system gives to clients: retried for long, one of those connects to itself."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def marked(mark: str) -> list[Stat]:
    """Every living process that a manager of this test has started, at whatever remove."""
    return [stat for stat in all_stats() if stat.is_alive and has_variable(stat.pid, MARK, mark)]


def instance_of(stat: Stat) -> str | None:
    """The instance that the process belongs to, by the mark that it was born with; None for those of the manager."""
    return read_variables(stat.pid).get(ENV_INSTANCE_ID) or None


@dataclass
class Mortal:
    """The manager, which dies and comes back; `url` is where it is, or was, last."""

    config: Path
    mark: str
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self, port: int) -> None:
        """Begin to start; whether it serves already is for the clients to find out."""
        self.url = f"http://127.0.0.1:{port}"
        with (self.config.parent / "manager.out").open("ab") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "--config", str(self.config), "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", MARK: self.mark},
                start_new_session=True,
            )

    def end(self, number: int) -> int:
        """Its exit status after a signal."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def client(self) -> httpx.Client:
        """Of the manager as it is now."""
        # Certificates are not needed, and loading them takes longer than the request.
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=False)

    def is_ready(self) -> bool:
        """Whether it serves and has taken its agents back."""
        try:
            with self.client() as http:
                return http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def agents(self) -> list[dict[str, Any]]:
        """The listing; empty while nobody serves it."""
        if not self.is_ready():
            return []
        with self.client() as http:
            found: list[dict[str, Any]] = http.get("/api/agent-services").json()["agents"]
        return found


@dataclass(frozen=True)
class Wish:
    """What a person wants of an agent."""

    desired: str
    instances: int

    def is_met_by(self, row: dict[str, Any]) -> bool:
        """Whether an agent has come to rest like this."""
        wanted = 0 if self.desired == "stopped" else self.instances
        going = [instance for instance in row["instances"] if not instance["draining"]]
        asked = (row["desired_state"], row["instances_wanted"]) == (self.desired, self.instances)
        return asked and row["state"] == self.desired and len(going) == len(row["instances"]) == wanted

    def after(self, action: str, instances: int | None) -> Wish:
        if instances is not None:
            return Wish(self.desired, instances)
        if action == "restart":
            return Wish("running" if self.desired == "stopped" else self.desired, self.instances)
        return Wish(_DESIRED_AFTER[action], self.instances)


@dataclass
class Operator:
    """Acts on its agents, one after the other. `wishes`: what each may be desired as by now: one, but where an answer
    was lost with the manager and not even a second try could tell."""

    manager: Mortal
    rng: random.Random
    wishes: dict[str, set[Wish]]
    acts: Counter[str] = field(default_factory=Counter)

    def act(self) -> None:
        """One action, repeated until somebody answers."""
        agent = self.rng.choice(sorted(self.wishes))
        action = self.rng.choice(["start", "start", "start", "pause", "resume", "resume", "stop", "kill", "restart"])
        body: dict[str, Any] = {"action": action}
        if self.rng.random() < 0.2:
            body = {"action": "scale", "instances": self.rng.randint(1, 3)}
        elif action == "stop":
            body["timeout_seconds"] = self.rng.choice([0.1, 1.0])
        before = self.wishes[agent]
        after = {wish.after(action, body.get("instances")) for wish in before}
        answer = self._post(agent, body, lambda: self.wishes.update({agent: self.wishes[agent] | after}))
        if answer is None:
            return
        self.acts[f"{body['action']} {answer.status_code}"] += 1
        assert answer.status_code in (202, 409, 503), answer.text
        if answer.status_code == 202:
            self.wishes[agent] = after

    def _post(self, agent: str, body: dict[str, Any], unsure: Callable[[], None]) -> httpx.Response | None:
        """None when the first try never got through; `unsure` is called when the answer to one was lost."""
        try:
            with self.manager.client() as http:
                return http.post(f"/api/agent-services/{agent}/action", json=body)
        except httpx.ConnectError:
            time.sleep(_PAUSE_SECONDS)
        except httpx.TransportError:
            unsure()
        return None


@dataclass
class Client:
    """Executes on any agent, and tries again when the manager is not there."""

    manager: Mortal
    rng: random.Random
    agents: Sequence[str]
    statuses: Counter[int] = field(default_factory=Counter)

    def act(self) -> None:
        """One request; what is answered is what was asked."""
        parameters: dict[str, Any] = {"token": self.rng.random(), "sleep_ms": self.rng.choice([0, 0, 5, 50])}
        fatal = self.rng.random() < 0.02
        if fatal:
            parameters["exit"] = self.rng.choice([0, 1, 3])
        path = f"/api/agent-services/{self.rng.choice(self.agents)}/execute"
        try:
            with self.manager.client() as http:
                answer = http.post(path, json={"parameters": parameters})
        except httpx.TransportError:
            time.sleep(_PAUSE_SECONDS)
            return
        self.statuses[answer.status_code] += 1
        assert answer.status_code in _HONEST, f"{answer.status_code}: {answer.text}"
        if answer.status_code == 200:
            assert not fatal and answer.json()["result"] == {"echo": parameters}
        time.sleep(_PAUSE_SECONDS)


@dataclass
class Assassin:
    """Kills a process of an agent now and then, whether a manager is there or not."""

    mark: str
    rng: random.Random
    killed: int = 0

    def act(self) -> None:
        time.sleep(self.rng.uniform(0.2, 0.8))
        victims = [stat for stat in marked(self.mark) if instance_of(stat) is not None]
        if victims and (descriptor := kill(self.rng.choice(victims))) is not None:
            os.close(descriptor)
            self.killed += 1


@contextmanager
def going_on(*actors: Operator | Client | Assassin) -> Iterator[Callable[[], None]]:
    """While inside, every actor acts, each in a thread. What is answered raises what one of them found wrong; so does
    leaving.
    """
    over = threading.Event()
    failures: list[BaseException] = []

    def run(act: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                act()
        except BaseException as error:  # noqa: BLE001 - raised again below, where the test can see it
            failures.append(error)

    def check() -> None:
        if failures:
            raise failures[0]

    threads = [threading.Thread(target=run, args=(actor.act,), daemon=True) for actor in actors]
    for thread in threads:
        thread.start()
    try:
        yield check
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
        check()


def wipe_out(mark: str) -> None:
    """End what is left of a test, and what that starts while it ends."""
    deadline = time.monotonic() + _WIPE_SECONDS
    while (left := marked(mark)) and time.monotonic() < deadline:
        for stat in left:
            if (descriptor := kill(stat)) is not None:
                os.close(descriptor)
        time.sleep(_PAUSE_SECONDS)
