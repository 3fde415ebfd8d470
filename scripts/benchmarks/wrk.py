"""wrk, the client: written in C, so that it leaves the machine to what is measured."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import NamedTuple

from scripts.benchmarks.client import HOST
from scripts.benchmarks.options import CannotMeasure

# wrk's own clock is in microseconds.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Manager-Token"] = "{token}"
wrk.body = '{{"parameters": {{"text": "' .. string.rep("x", {size} - {frame}) .. '"}}}}'
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{{"requests": %d, "micros": %d, "middle": %d, "slow": %d, "errors": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
_FRAME = len('{"parameters": {"text": ""}}')


class Load(NamedTuple):
    """What one run came to: requests per second, and of the answers' seconds the middle and the 99th percentile."""

    rate: float
    middle: float
    slow: float


class Wrk:
    """Posts tasks of a given size. Raises `CannotMeasure` where there is no wrk, or where a request fails."""

    def __init__(self, directory: Path, *, token: str) -> None:
        self._directory = directory
        self._token = token

    async def run(self, port: int, target: str, *, connections: int, size: int, seconds: float) -> Load:
        """Keep so many connections busy; `size` in bytes of the body."""
        script = self._directory / f"post-{size}.lua"
        if not script.exists():
            script.write_text(_SCRIPT.format(token=self._token, size=size, frame=_FRAME), encoding="utf-8")
        command = ("-t1", f"-c{connections}", f"-d{seconds:g}", "--timeout", "30", "-s", script)
        process = await asyncio.create_subprocess_exec(
            program("wrk"), *command, f"http://{HOST}:{port}{target}", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise CannotMeasure(f"wrk ended with status {process.returncode}: {output.decode()}")
        found = json.loads(output.decode().strip().splitlines()[-1])
        if found["errors"]:
            raise CannotMeasure(f"At port {port} {found['errors']} of {found['requests']} requests failed.")
        return Load(found["requests"] / found["micros"] * 1e6, found["middle"] / 1e6, found["slow"] / 1e6)


def program(name: str) -> str:
    """Where a program is. Raises `CannotMeasure` with what to install."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise CannotMeasure(f"There is no {name} here; on Debian: apt-get install wrk nginx-light.")
    return found
