"""The pages under docs/ name what the code has: every event, metric, route, command, exit status and variable, and no
other; and no link in them leads nowhere.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer.main
from starlette.routing import BaseRoute, Mount, Route

import manager.api
from agent_service import contract
from agent_service.app import build_app
from agent_service.contract import AgentSpec
from agent_service.errors import Refusal
from agent_service.lifecycle import Lifecycle
from agent_service.manager_address import ManagerAddress
from agent_service.runtimes.dummy import DummyRuntime
from agent_service.tasks import Tasks
from manager.api.operation import Operation
from manager.api.problem import STATUS_OF
from manager.cli.main import build_app as build_command_line
from manager.events import EventKind
from manager.supervision.states import HARMLESS, LEGAL_ACTIONS, AgentAction, AgentState
from tests.unit.every_metric import metric_families
from web.routes import routes as dashboard_routes

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
WRITING_AGENTS = (ROOT / "docs" / "writing-agents.md").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", page, re.MULTILINE)
    assert found, f"there is no heading {title!r}"
    rest = page[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """The cells of every table row but the headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        cells
        for cells, below in zip(table, [*table[1:], []], strict=True)
        if not set(cells[0]) <= {"-"} and not (below and set(below[0]) == {"-"})
    ]


def first_words(text: str) -> list[str]:
    """The first cell of each row, without its back quotes."""
    return [cells[0].strip("`") for cells in rows(text)]


def documented_routes(title: str) -> list[str]:
    return sorted(first_words(section(OPERATIONS, title)))


def routes_of(routes: list[BaseRoute]) -> Iterator[str]:
    for route in routes:
        if isinstance(route, Route):
            yield from (f"{method} {route.path}" for method in route.methods or () if method != "HEAD")
        elif isinstance(route, Mount):
            yield f"GET {route.path}"


def operations() -> Iterator[Operation]:
    """Of every class under `manager.api` that serves some: made without its parts, which only requests need."""
    for module in pkgutil.iter_modules(manager.api.__path__, "manager.api."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and hasattr(kind, "operations"):
                yield from kind.operations(kind.__new__(kind))


def adapter_routes() -> list[BaseRoute]:
    spec = AgentSpec(id="one", name="one")
    lifecycle = Lifecycle(drain_timeout_seconds=1)
    return build_app(
        spec,
        DummyRuntime(),
        lifecycle=lifecycle,
        tasks=Tasks(spec, lifecycle),
        instance_id="i",
        started_at=datetime.now(UTC),
        read_log=Mock(),
        manager=ManagerAddress(None),
    ).routes


def commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def command_line() -> dict[str, Any]:
    return dict(commands(typer.main.get_command(build_command_line()), "agent-manager"))


def constants(prefix: str) -> dict[str, Any]:
    return {name: value for name, value in vars(contract).items() if name.startswith(prefix)}


def slugs(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


def test_every_event_kind_is_documented() -> None:
    assert sorted(first_words(section(OPERATIONS, "Kinds"))) == sorted(EventKind)


def test_every_metric_is_documented_with_its_type() -> None:
    documented = {cells[0].strip("`"): cells[1] for cells in rows(section(OPERATIONS, "Metrics"))}
    exported = {family.name: family.kind for family in metric_families()}
    assert exported.items() <= documented.items()
    # Those of the process are there on Linux only.
    assert {name for name in documented if not name.startswith("process_")} <= set(exported)


def test_every_metrics_labels_are_documented() -> None:
    documented = {
        cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[2])) for cells in rows(section(OPERATIONS, "Metrics"))
    }
    for family in metric_families():
        series = next(iter(family.samples))
        labels = set(re.findall(r'(\w+)="', series)) - {"agent_id", "le"}
        assert labels == documented[family.name], family.name


def test_every_route_of_the_manager_is_documented() -> None:
    served = {f"{operation.method} {operation.path}": operation.guarded for operation in operations()}
    assert documented_routes("The manager") == sorted(served)
    marked = {cells[0].strip("`"): cells[1] == "T" for cells in rows(section(OPERATIONS, "The manager"))}
    assert marked == served, "T marks the routes that need a token"


def test_every_route_of_the_dashboard_is_documented() -> None:
    assert documented_routes("The dashboard") == sorted(routes_of(dashboard_routes(Mock())))


def test_every_route_of_the_adapter_is_documented() -> None:
    served = list(routes_of(adapter_routes()))
    assert documented_routes("An adapter") == sorted(served)


def test_every_route_has_an_example_for_curl() -> None:
    examples = re.findall(r"\$U(/[^\s\"';]*)", section(OPERATIONS, "The manager"))
    paths = (re.sub(r"agent-services/(echo|assistant)", "agent-services/{agent_id}", each) for each in examples)
    paths = (re.sub(r"webhooks/oncall", "webhooks/{name}", each) for each in paths)
    asked = {re.sub(r"threads/monday", "threads/{thread_id}", each.partition("?")[0]) for each in paths}
    told_by_adapters = {f"/api/agent-services/{word}" for word in ("register", "heartbeat", "unregister")}
    assert asked == {operation.path for operation in operations()} - told_by_adapters


def test_every_status_code_is_documented() -> None:
    refusals = {kind.status for kind in Refusal.__subclasses__()}
    assert {str(status) for status in {405, 408, 431, *STATUS_OF.values(), *refusals}} == set(
        first_words(section(OPERATIONS, "Problems and status codes"))
    )


def test_every_state_and_what_it_allows_is_documented() -> None:
    assert first_words(section(OPERATIONS, "States").partition("`desired_state`:")[0]) == [*AgentState]
    table = {cells[0].strip("`"): cells[1:] for cells in rows(section(OPERATIONS, "Actions"))}
    for state in AgentState:
        expected = [
            ", ".join(action for action in AgentAction if action in allowed[state]) or "none"
            for allowed in (LEGAL_ACTIONS, HARMLESS)
        ]
        assert table[state] == expected, state


def test_every_command_is_documented() -> None:
    assert sorted(first_words(section(OPERATIONS, "Command line"))) == sorted(command_line())


@pytest.mark.parametrize("name", command_line())
def test_every_option_of_a_command_is_documented(name: str) -> None:
    cells = next(cells for cells in rows(section(OPERATIONS, "Command line")) if cells[0] == f"`{name}`")
    options = [parameter for parameter in command_line()[name].params if parameter.param_type_name == "option"]
    # Of a switch the word that is not its default.
    expected = {(option.secondary_opts or [max(option.opts, key=len)])[0] for option in options}
    assert set(re.findall(r"--[\w-]+", cells[2])) == expected - {"--url"}, "--url is explained above the table"


def test_every_exit_status_is_documented() -> None:
    text = section(OPERATIONS, "Exit statuses")
    assert constants("EXIT_")
    for name, status in constants("EXIT_").items():
        assert f"| {status} (`{name}`) |" in text


@pytest.mark.parametrize(
    ("page", "title"), [(OPERATIONS, "Environment variables"), (WRITING_AGENTS, "What a process is told")]
)
def test_every_variable_that_a_process_is_told_is_documented(page: str, title: str) -> None:
    assert sorted(first_words(section(page, title))) == sorted(constants("ENV_").values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in slugs(target.read_text(encoding="utf-8")), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_json_are_json(page: Path) -> None:
    for example in re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        json.loads(example)


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200
