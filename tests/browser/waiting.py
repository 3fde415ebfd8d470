"""What browser tests wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def expect(locator: object) -> object:
    from playwright.sync_api import expect as playwright_expect

    playwright_expect.set_options(timeout=15_000)
    return playwright_expect(locator)


def connected(page: Page) -> Page:
    """Wait until the live stream is there."""
    expect(page.locator("#stream")).to_have_attribute("data-connection", "live")
    return page
