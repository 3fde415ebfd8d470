from __future__ import annotations

from manager.telemetry.traffic import Recent
from tests.unit.web.asking import HTMX, get, text_of
from tests.unit.web.fakes import World, view
from tests.unit.web.sources import self_report


def test_the_metrics_page_shows_agents_manager_and_how_to_collect_it_all() -> None:
    world = World(view("planner"), view("echo"))
    world.series.requests = {"planner": Recent(60, 1.5, 3, 0.05, 12.0, 80.0)}
    world.series.points[""] = {"loop_lag_ms": [1.0, 2.0]}
    page = get(world, "/metrics-overview")
    assert page.status_code == 200
    for piece in ("1.5/s", "5.0 %", "80 ms", "delay now 2.0 ms"):
        assert piece in page.text
    assert 'targets: ["manager.test"]' in page.text and "scheme:" not in page.text


def test_over_https_the_scrape_config_says_so() -> None:
    assert "scheme: https" in get(World(), "https://manager.test/metrics-overview").text


def test_the_figures_alone_are_a_fragment() -> None:
    fragment = get(World(view("planner")), "/ui/metrics-overview", headers=HTMX).text
    assert "metrics-of-planner" in fragment and "<html" not in fragment


def test_the_about_page_tells_how_the_manager_is() -> None:
    page = text_of(get(World(), "/about"))
    for piece in ("Nothing is wrong with the manager itself.", "1.2.3", "/project/.state", "light", "30 MiB"):
        assert piece in page


def test_what_is_wrong_with_the_manager_is_told_first() -> None:
    world = World()
    world.report = self_report(loop_lag_ms=900.0, fork_servers=[])
    fragment = get(world, "/ui/about", headers=HTMX).text
    assert fragment.index("held up for 900 ms") < fragment.index("Uptime")
    assert "Nothing is wrong" not in fragment and "None is running" in fragment


def test_strangers_see_neither() -> None:
    for path in ("/about", "/ui/about", "/metrics-overview", "/ui/metrics-overview"):
        assert get(World(tokens=("secret",)), path).status_code == 401
