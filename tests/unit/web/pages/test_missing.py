from __future__ import annotations

import pytest

from tests.unit.web.asking import get, post, text_of
from tests.unit.web.fakes import World, view

BROWSER = {"headers": {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}}


def test_a_browser_is_told_of_a_wrong_address_on_a_page() -> None:
    page = get(World(view()), "/nopage", **BROWSER)
    assert page.status_code == 404 and page.headers["content-type"].startswith("text/html")
    assert "Nothing to show. There is nothing at this address." in text_of(page)
    assert 'href="/"' in page.text and page.headers["cache-control"] == "no-store"


def test_the_address_of_a_form_says_what_it_is_for() -> None:
    page = get(World(view()), "/config/webhook-test", **BROWSER)
    assert page.status_code == 405 and page.headers["allow"] == "POST"
    assert "it only takes what is sent to it" in text_of(page)


@pytest.mark.parametrize(
    ("path", "accept"), [("/nopage", "*/*"), ("/nopage", "application/json"), ("/api/nothing", "text/html")]
)
def test_a_program_is_told_as_the_api_tells_it(path: str, accept: str) -> None:
    answer = get(World(view()), path, headers={"Accept": accept})
    assert answer.status_code == 404 and answer.json()["detail"].startswith("There is no such address here")


def test_what_a_browser_sends_to_a_wrong_address_is_no_page() -> None:
    assert post(World(view()), "/nopage", {}, **BROWSER).json()["status"] == 404


def test_a_stranger_is_not_told_which_addresses_there_are() -> None:
    page = get(World(view(), tokens=("secret",)), "/nopage", **BROWSER)
    assert page.status_code == 401 and "There is nothing" not in page.text
