"""`scripts/screenshots`: the dashboard's pages as pictures in docs/images.

Exit status: 0 taken · 1 not taken · 2 wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from time import monotonic

import httpx
from playwright.async_api import Browser, async_playwright

from agent_service.forkserver.linux import become_subreaper
from scripts.benchmarks.client import HOST, until_answered
from scripts.benchmarks.daemon import running
from scripts.benchmarks.options import ROOT, CannotMeasure
from scripts.benchmarks.ports import free_ports
from scripts.picturing.fleet import FLEET, PAUSED, work

PAGES = (
    ("fleet", "/"),
    ("agent", "/agents/executor"),
    ("logs", "/logs"),
    ("events", "/events"),
    ("config", "/config"),
    ("metrics", "/metrics-overview"),
    ("about", "/about"),
)
SCHEMES = ("light", "dark")
SIZES = (("wide", 1440, 900), ("narrow", 390, 844))
IMAGES = ROOT / "docs" / "images"
_READY_SECONDS = 60.0
# For what a page fetches after it has loaded.
_SETTLE_MS = 1_500
_QUALITY = 82
_PICTURED_DIRECTORY = "/srv/agents"
_RENAME = """([before, after]) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (text.data.includes(before)) text.data = text.data.replaceAll(before, after);
  }
}"""
_NOTIFICATION_BYTES = 64 * 1024


def main() -> int:
    """Run as argv says; answers the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description="Take the pictures in docs/images.")
    parser.add_argument("seconds", nargs="?", type=int, default=90, help="how long the fleet works before (90)")
    seconds = parser.parse_args().seconds
    if sys.platform != "linux":
        print("The fleet of the pictures is ended through /proc and needs Linux.", file=sys.stderr)
        return 1
    become_subreaper()
    try:
        with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
            asyncio.run(_picture(Path(directory).resolve(), seconds))
    except CannotMeasure as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _picture(directory: Path, seconds: int) -> None:
    config = directory / "agents.config.json"
    agents = [agent.to_config() for agent in FLEET]
    port, listening = free_ports(2)
    (directory / "oncall-secret").write_text(secrets.token_hex(24))
    runtime = {"webhooks": [{"name": "oncall", "url": f"http://{HOST}:{listening}", "secret": "file:oncall-secret"}]}
    config.write_text(json.dumps({"runtime": runtime, "agents": agents}, indent=2))
    await asyncio.start_server(_be_told, HOST, listening)
    command = [Path(sys.executable).parent / "agent-manager", "up", "--config", config, "--port", str(port)]
    with running(command, directory / "manager.log"):
        await until_answered(port, "GET", "/ready", every=0.2, seconds=_READY_SECONDS)
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=60) as client:
            await client.post(f"/api/agent-services/{PAUSED}/action", json={"action": "pause", "reason": "new prompt"})
            end, done = monotonic() + seconds, asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(work(client, done.is_set))
                await asyncio.sleep(end - monotonic())
                # What the config page has to show: a change that is not taken over yet.
                agents[-1]["maxConcurrency"] = 4
                changed = {"runtime": runtime, "agents": [*agents, {"id": "auditor"}]}
                config.write_text(json.dumps(changed, indent=2))
                await _take(f"http://{HOST}:{port}", directory)
                done.set()


async def _be_told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a webhook's address does with a notification."""
    await reader.readuntil(b"\r\n\r\n")
    await reader.read(_NOTIFICATION_BYTES)
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def _take(url: str, directory: Path) -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        executable = shutil.which("chromium")
        if executable is None:
            raise CannotMeasure("There is no chromium on the PATH; run ./scripts/install-full.")
        browser = await playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for scheme in SCHEMES:
            for size, width, height in SIZES:
                await _take_all(browser, url, directory, scheme, size, width, height)
        await browser.close()


async def _take_all(
    browser: Browser, url: str, directory: Path, scheme: str, size: str, width: int, height: int
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    devtools = await context.new_cdp_session(page)
    for name, path in PAGES:
        await page.goto(f"{url}{path}")
        await page.wait_for_timeout(_SETTLE_MS)
        # Where this machine keeps its temporary files would only lead a reader astray.
        await page.evaluate(_RENAME, [str(directory), _PICTURED_DIRECTORY])
        # A third of a PNG, and as sharp.
        taken = await devtools.send("Page.captureScreenshot", {"format": "webp", "quality": _QUALITY})
        file = IMAGES / f"{name}-{scheme}-{size}.webp"
        file.write_bytes(base64.b64decode(taken["data"]))
        print(f"{file.relative_to(ROOT)} {file.stat().st_size // 1000} kB", flush=True)
    await context.close()


if __name__ == "__main__":
    sys.exit(main())
