from __future__ import annotations

import json
from typing import Any

import pytest

LIST = "GET /api/agent-services"
CRASHED = {"code": None, "signal": 9, "reason": "killed by signal 9", "at": "2026-01-02T11:00:00Z"}


def test_ps_shows_a_line_per_agent(cli: Any, make: Any) -> None:
    busy = make.row(restarts=2, in_flight=4, last_exit=CRASHED)
    cli.manager.on(LIST, make.listing(busy, make.stopped("echo", port=None)))
    result = cli("ps")
    assert result.exit_code == 0
    table = [line.split() for line in result.stdout.splitlines()]
    assert table[0] == "ID KIND STATE READY PID PORT UPTIME RESTARTS IN FLIGHT LAST EXIT / WHY".split()
    assert table[1] == "planner agent running 1/1 123 8100 60 s 2 4 killed by signal 9".split()
    assert table[2] == "echo agent stopped 0/1 - - - 0 0 -".split()


def test_who_is_a_sidecar_and_who_comes_from_elsewhere_is_told(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row(sidecar=True), make.row(id="far", managed=False)))
    assert [line.split()[1] for line in cli("ps").stdout.splitlines()] == ["KIND", "sidecar", "outside"]
    cli.manager.on(f"{LIST}/planner", make.row(sidecar=True) | {"spec": {}, "events": []})
    assert "kind:         sidecar" in cli("status", "planner").stdout


def test_a_long_reason_is_neither_wrapped_nor_padded(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row(state="failed", state_reason="because\n" * 100)))
    lines = cli("ps").stdout.splitlines()
    assert len(lines) == 2
    assert len(lines[0]) < 100


def test_what_is_piped_holds_no_escape_sequence_even_from_an_agent(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing(make.row(state="failed", state_reason="\x1b[2Jgone\x07")))
    result = cli("ps")
    assert "\x1b" not in result.stdout
    assert "\\x1b[2Jgone\\x07" in result.stdout


def test_a_terminal_gets_colours_unless_it_refuses_them(cli: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.manager.on(LIST, make.listing(make.row()))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32mrunning" in cli("ps").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in cli("ps").stdout


def test_ps_without_agents(cli: Any, make: Any) -> None:
    cli.manager.on(LIST, make.listing())
    assert cli("ps").stdout == "No agents.\n"


def test_ps_json_is_the_apis_own_answer(cli: Any, make: Any) -> None:
    newer = make.row() | {"a_later_field": {"é": 1}, "state": "a_later_state"}
    cli.manager.on(LIST, make.listing(newer))
    assert json.loads(cli("ps", "--json").stdout) == make.listing(newer)


def test_status_shows_facts_and_the_newest_events(cli: Any, make: Any) -> None:
    events = [make.event(2, message="planner crashed"), make.event(1, reason="upgrade", actor="ada")]
    detail = make.row(description="Plans.") | {"spec": {"port": 8100}, "events": events}
    cli.manager.on(f"{LIST}/planner", detail)
    lines = cli("status", "planner").stdout.splitlines()
    facts = {name.strip(): value.strip() for name, value in (line.split(":", 1) for line in lines[:16])}
    assert facts["id"] == "planner"
    assert facts["description"] == "Plans."
    assert facts["url"] == "http://127.0.0.1:8100"
    assert facts["tasks"] == "0 in flight, 0 queued, 7 done, 1 of them failed"
    assert facts["allowed now"] == "pause, stop, restart, kill"
    assert facts["why"] == "-"
    assert lines[-2].endswith("event 1 (by ada, because: upgrade)")
    assert lines[-1].endswith("planner crashed")


def test_ps_counts_the_instances_and_shows_the_uptime_of_the_oldest(cli: Any, make: Any) -> None:
    instances = [
        make.instance("one", started_at="2026-01-02T11:00:00Z"),
        make.instance("two"),
        make.instance("three", ready=False, started_at="2026-01-02T11:59:59Z"),
    ]
    cli.manager.on(LIST, make.listing(make.row(instances=instances, instances_wanted=3)))
    assert cli("ps").stdout.splitlines()[1].split() == "planner agent running 2/3 123 8100 1 h 0 min 0 0 -".split()


def test_ps_shows_how_long_a_drain_may_take(cli: Any, make: Any) -> None:
    stopping = make.row(
        state="stopping",
        state_reason="stop by ada",
        in_flight=3,
        drain_deadline="2026-01-02T12:00:27Z",
        stop_deadline="2026-01-02T12:00:37Z",
    )
    cli.manager.on(LIST, make.listing(stopping))
    assert cli("ps").stdout.rstrip().endswith("  3 left, 27 s, SIGKILL in 37 s; stop by ada")


def test_status_shows_each_instance(cli: Any, make: Any) -> None:
    instances = [
        make.instance("one", draining=True, ready=False, in_flight=2),
        make.instance("two", pid=456, cpu_percent=12.34, rss_bytes=3 * 2**20, service_url="http://127.0.0.1:8101"),
    ]
    detail = make.row(instances=instances, instances_wanted=2) | {"spec": None, "events": []}
    cli.manager.on(f"{LIST}/planner", detail)
    lines = cli("status", "planner").stdout.splitlines()
    start = lines.index("Instances:")
    assert lines[start + 1].split() == "INSTANCE STATE PID URL UPTIME IN FLIGHT CPU MEMORY".split()
    assert lines[start + 2].split() == "one draining 123 http://127.0.0.1:8100 60 s 2 - -".split()
    assert lines[start + 3].split() == "two ready 456 http://127.0.0.1:8101 60 s 0 12.3 % 3.0 MiB".split()


@pytest.mark.parametrize(
    ("row", "why", "last_exit"), [("row", "-", "killed by signal 9, 2026"), ("stopped", "killed by signal 9", "-")]
)
def test_the_last_exit_is_the_reason_only_where_nothing_followed(
    cli: Any, make: Any, row: str, why: str, last_exit: str
) -> None:
    detail = getattr(make, row)(last_exit=CRASHED) | {"spec": None, "events": []}
    cli.manager.on(f"{LIST}/planner", detail)
    lines = cli("status", "planner").stdout.splitlines()
    facts = {name.strip(): value.strip() for name, value in (line.split(":", 1) for line in lines[:16])}
    assert facts["why"] == why
    assert facts["last exit"].startswith(last_exit)


def test_status_json_is_the_apis_own_answer(cli: Any, make: Any) -> None:
    detail = make.row() | {"spec": None, "events": []}
    cli.manager.on(f"{LIST}/planner", detail)
    assert json.loads(cli("status", "planner", "--json").stdout) == detail


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_status_of_nobody_is_one_sentence(cli: Any, make: Any, options: list[str]) -> None:
    cli.manager.on(f"{LIST}/nobody", make.problem(404, "No agent is called nobody; see `agent-manager ps`."))
    result = cli("status", "nobody", *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "No agent is called nobody; see `agent-manager ps`.\n"
