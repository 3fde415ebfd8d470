from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from manager.supervision.views import AgentView
from tests.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`Policy violated: ${event.violatedDirective} ${event.blockedURI}`));
"""


class Served(Protocol):
    """Something with a dashboard."""

    url: str


@dataclass
class Watch:
    """What a page did that it must not do."""

    wrongs: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """This test brings such a complaint about on purpose."""
        self.allowed.append(pattern)

    def check(self) -> None:
        assert [wrong for wrong in self.wrongs if not any(re.search(each, wrong) for each in self.allowed)] == []

    def follow(self, page: Page, origin: str) -> None:
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.wrongs.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url, origin))

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.wrongs.append(f"console: {text}")

    def _request(self, url: str, origin: str) -> None:
        if not url.startswith(origin + "/"):
            self.wrongs.append(f"request: {url}")


# Not for the session: while Playwright runs, its event loop is this thread's, and no other test could have one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    assert executable, "The full profile needs Debian's chromium: install the package chromium."
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """Start sites; all of them are stopped at the end."""
    sites: list[Site] = []

    def start(*views: AgentView, **options: Any) -> Site:
        sites.append(Site(*views, **options))
        return sites[-1].start()

    yield start
    for site in sites:
        site.stop()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Checks at the end that no page complained, and that none asked another host for anything."""
    watching = Watch()
    yield watching
    watching.check()


@pytest.fixture
def visit(browser: Browser, serve: object, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Open a site's page in a browser context of its own."""
    contexts: list[BrowserContext] = []

    def open_page(site: Served, *, go: bool = True, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        page.add_init_script(REPORT_VIOLATIONS)
        watch.follow(page, site.url)
        if go:
            page.goto(site.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
