"""Logs of real processes: no line lost over rotations and kills, the disk bounded, what is cut attributed."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_service.log_files import rotated_files
from tests.integration.chaos import MARK
from tests.integration.manager_process import ManagerProcess, running_manager, until, write_config
from tests.integration.watchman import watched

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform != "linux", reason="needs rename under a writer, and fallocate"),
]

AGENTS = 20
KILLS = 10
NUMBER = re.compile(r"(line|last) (\d+)")
WRITERS = "tests.fixtures.log_writers"


class Follower(threading.Thread):
    """Follows all agents over whatever number of managers, from one event's id to the next."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.url: str | None = None
        self.said: defaultdict[str, list[int]] = defaultdict(list)
        self.ended: set[str] = set()
        self.failed: BaseException | None = None
        self._last_id: str | None = None
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._follow()
        except BaseException as error:
            self.failed = error
            raise

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)

    def _follow(self) -> None:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self._last_id} if self._last_id else {})}
        try:
            with (
                httpx.Client(trust_env=False, timeout=httpx.Timeout(30, connect=2)) as client,
                client.stream("GET", f"{self.url}/api/logs?lines=0", headers=headers) as answer,
            ):
                self._read(answer.iter_lines())
        except httpx.TransportError:
            self._stopped.wait(0.05)

    def _read(self, lines: Iterator[str]) -> None:
        event_id = None
        for line in lines:
            if self._stopped.is_set():
                return
            if line.startswith("id: "):
                event_id = line.removeprefix("id: ")
            elif line.startswith("data: "):
                page = json.loads(line.removeprefix("data: "))
                assert page["note"] is None, page["note"]
                note(page["entries"], self.said, self.ended)
                self._last_id = event_id


def note(entries: list[dict[str, Any]], said: defaultdict[str, list[int]], ended: set[str]) -> None:
    for entry in entries:
        if found := NUMBER.fullmatch(entry["message"]):
            if found[1] == "last":
                ended.add(entry["agent_id"])
            else:
                said[entry["agent_id"]].append(int(found[2]))


def read_back(http: httpx.Client) -> defaultdict[str, list[int]]:
    """Every number of every agent, page by page from the oldest on."""
    said: defaultdict[str, list[int]] = defaultdict(list)
    query: dict[str, Any] = {"lines": 5000, "order": "oldest", "text": "line "}
    while True:
        page = http.get("/api/logs", params=query).raise_for_status().json()
        note(page["entries"], said, set())
        if page["complete"] and len(page["entries"]) < query["lines"]:
            return said
        query["cursor"] = page["newer"]


@contextmanager
def following() -> Iterator[Follower]:
    follower = Follower()
    try:
        yield follower
    finally:
        follower.stop()


@pytest.mark.timeout(600)
def test_no_line_is_lost_over_rotations_and_ten_kills_of_the_manager(tmp_path: Path) -> None:
    ids = [f"writer-{number:02}" for number in range(AGENTS)]
    agents = [{"id": each, "entryPoint": f"{WRITERS}:numbered", "preload": "light"} for each in ids]
    config = write_config(tmp_path, agents, logMaxBytes=4096, logMaxFiles=10_000)
    mark, stop = uuid.uuid4().hex, tmp_path / "stop"
    with watched(mark), following() as follower:
        manager = ManagerProcess(config, environment={MARK: mark})
        try:
            follower.url = manager.url
            follower.start()
            for each in ids:
                manager.wait_for(each, "running")
                assert manager.execute(each, until=str(stop)).status_code == 200
            for _ in range(KILLS):
                before = sum(map(len, follower.said.values()))
                until(lambda: sum(map(len, follower.said.values())) > before + AGENTS * 10, "lines are followed")  # noqa: B023
                manager.process.kill()
                manager.process.wait()
                manager.close()
                manager = ManagerProcess(config, environment={MARK: mark})
                follower.url = manager.url
            stop.touch()
            until(
                lambda: follower.ended == set(ids) or follower.failed,
                lambda: f"the last line of each agent is followed; missing: {set(ids) - follower.ended}",
                seconds=200,
            )
            assert follower.failed is None
            said = read_back(manager.http)
            for each in ids:
                wanted = list(range(1, len(said[each]) + 1))
                assert said[each] == wanted and len(wanted) > 10 * KILLS, each
                assert follower.said[each] == wanted, each
                assert len(rotated_files(tmp_path / "logs" / f"{each}.log")) >= 3, each
                assert manager.agent(each)["restarts"] == 0
        finally:
            stop.touch()
            manager.close()


@pytest.mark.timeout(120)
def test_the_disk_is_bounded_for_adapters_and_for_programs_that_know_nothing_of_it(tmp_path: Path) -> None:
    endless = "import sys\nwhile True: sys.stdout.write('y' * 999 + '\\n')"
    foreign = {"id": "foreign", "command": ["{python}", "-c", endless], "startTimeoutSeconds": 600}
    agents = [{"id": "flood", "entryPoint": f"{WRITERS}:flood", "preload": "light"}, foreign]
    limit, files = 1_000_000, 4
    config = write_config(tmp_path, agents, logMaxBytes=limit, logMaxFiles=files)
    logs = tmp_path / "logs"
    with running_manager(config) as manager:
        manager.wait_for("flood", "running")
        assert manager.execute("flood", megabytes=300).json()["result"] == 300
        assert manager.log("flood").splitlines()[-2:] != []
        until(lambda: taken(logs / "flood.log") <= limit * files + 65_536, "the adapter's log is bounded")
        found = manager.http.get("/api/agent-services/flood/logs", params={"text": "flooded"}).json()
        assert len(found["entries"]) == 1
        until(lambda: (logs / "foreign.log").stat().st_size > 20 * limit, "the other one has written a lot")
        manager.act("foreign", "kill")
        until(lambda: taken(logs / "foreign.log") <= limit * files + 65_536, "the other one's log is bounded")
        lines = manager.http.get("/api/agent-services/foreign/logs", params={"lines": 3}).json()["lines"]
        assert any("y" * 999 in line for line in lines)


def taken(log: Path) -> int:
    """Bytes on disk of all files of a log."""
    return sum(each.occupied for each in rotated_files(log)) + os.stat(log).st_blocks * 512


def test_a_line_that_a_death_has_cut_is_kept_and_the_next_instance_begins_a_new_one(tmp_path: Path) -> None:
    config = write_config(tmp_path, [{"id": "half", "entryPoint": f"{WRITERS}:half", "preload": "light"}])
    with running_manager(config) as manager:
        first = manager.wait_for("half", "running")["instance_id"]
        assert manager.execute("half").status_code == 502
        until(lambda: manager.agent("half")["restarts"] == 1, "it was started again")
        second = manager.wait_for("half", "running")["instance_id"]
        entries = manager.http.get("/api/agent-services/half/logs").json()["entries"]
        index = next(index for index, entry in enumerate(entries) if entry["message"] == "half a li")
        assert (entries[index]["instance_id"], entries[index]["structured"]) == (first, False)
        assert (entries[index + 1]["message"], entries[index + 1]["instance_id"]) == ("Instance starts", second)
