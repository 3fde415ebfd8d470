"""A real Prometheus in a process of its own, asked over its HTTP API. scripts/install-full installs it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.manager_process import DEADLINE_SECONDS, until
from tests.integration.output_lines import OutputLines

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]


def labels(**found: str) -> Labels:
    """The key of a series in an answer."""
    return frozenset(found.items())


class Prometheus:
    """Scrapes and evaluates every second: a scrape may take as long, and on a busy machine it does."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        path = directory / "prometheus.json"
        # JSON is YAML too.
        path.write_text(json.dumps({"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, **config}))
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_PROXY": "*"},
        )
        assert self.process.stderr is not None
        self._lines = OutputLines(self.process.stderr)
        self.http = httpx.Client(timeout=DEADLINE_SECONDS, trust_env=False)

    def until_ready(self) -> None:
        """Wait until it serves."""
        address = self._lines.find(r'msg="Listening on" address=(\S+)', seconds=DEADLINE_SECONDS)
        self.http.base_url = httpx.URL(f"http://{address}")
        until(lambda: self.http.get("/-/ready").status_code == 200, "Prometheus is ready")

    def ask(self, query: str) -> Vector:
        """The instant vector of a query, by its labels; a scalar is a vector without any."""
        answer = self.http.get("/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", (query, answer)
        data = answer["data"]
        if data["resultType"] == "scalar":
            return {frozenset(): float(data["result"][1])}
        return {frozenset(each["metric"].items()): float(each["value"][1]) for each in data["result"]}

    def values(self, selector: str, label: str) -> set[str]:
        """Those that a label has among the series."""
        answer = self.http.get(f"/api/v1/label/{label}/values", params={"match[]": selector}).json()
        assert answer["status"] == "success", (selector, answer)
        return set(answer["data"])

    def until(self, query: str, expected: Vector) -> None:
        """Wait until a query has exactly this answer; one scrape that failed leaves it without any for a moment."""
        found: list[Vector] = []

        def answered() -> bool:
            found[:] = [self.ask(query)]
            return found[0] == expected

        try:
            until(answered, query)
        except AssertionError:
            raise AssertionError(f"{query} is {found[0]} and not {expected}") from None

    def close(self) -> None:
        """Leave nothing running."""
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._lines.close(DEADLINE_SECONDS)


@contextmanager
def running_prometheus(directory: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus that is gone when the scope ends."""
    prometheus = Prometheus(directory, config)
    try:
        prometheus.until_ready()
        yield prometheus
    finally:
        prometheus.close()
