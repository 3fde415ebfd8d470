from __future__ import annotations

import asyncio
import re

import httpx

from tests.unit.web.fakes import World, view
from web.assets import STATIC_DIRECTORY


def fetch(*paths: str, headers: dict[str, str] | None = None) -> list[httpx.Response]:
    async def scenario() -> list[httpx.Response]:
        async with World(view()).client(headers=headers) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(scenario())


def test_every_file_that_the_page_names_is_there_and_may_be_kept_for_ever() -> None:
    [page] = fetch("/")
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(names) >= 8
    for answer in fetch(*names):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_an_address_without_a_version_is_asked_for_each_time_and_costs_nothing_when_unchanged() -> None:
    [first] = fetch("/static/base.css")
    assert first.headers["cache-control"] == "no-cache"
    [second] = fetch("/static/base.css", headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 304 and second.headers["cache-control"] == "no-cache"


def test_nothing_outside_the_static_directory_is_served() -> None:
    answers = fetch("/static/../pages.py", "/static/%2e%2e/pages.py", "/static/vendor/../../session.py", "/static/")
    assert {answer.status_code for answer in answers} == {404}


def test_scripts_are_served_as_scripts() -> None:
    [script] = fetch("/static/shortcuts.js")
    assert script.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    assert script.headers["x-content-type-options"] == "nosniff"


def test_no_file_of_ours_names_another_host() -> None:
    ours = [path for path in STATIC_DIRECTORY.iterdir() if path.suffix in {".js", ".css"}]
    assert len(ours) >= 6
    for path in ours:
        code = re.sub(r"^\s*(//|/\*).*$", "", path.read_text(), flags=re.MULTILINE)
        # The name of a namespace is no address: nobody fetches it.
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\b)", code), path.name


def test_the_first_page_with_everything_it_needs_is_small() -> None:
    [page] = fetch("/")
    answers = fetch("/", *re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text))
    assert sum(len(answer.content) for answer in answers) < 150_000


def test_the_vendored_library_comes_with_its_licence() -> None:
    assert "Zero-Clause BSD" in (STATIC_DIRECTORY / "vendor" / "htmx.LICENSE.txt").read_text()
