from __future__ import annotations

from manager.telemetry.traffic import Recent
from tests.unit.web.fakes import view
from web.metric_rows import key_figures, metric_rows
from web.tones import Tone

BUSY = Recent(requests=100, requests_per_second=2.0, errors=3, error_ratio=0.03, p50_ms=10.0, p95_ms=90.0)
SLOW = Recent(requests=10, requests_per_second=0.5, errors=5, error_ratio=0.5, p50_ms=100.0, p95_ms=2500.0)
IDLE = Recent(requests=0, requests_per_second=0.0, errors=0, error_ratio=None, p50_ms=None, p95_ms=None)


def test_the_fleets_figures_are_sums_and_its_slowest_agents() -> None:
    views = [view("a", in_flight=2, queued=1, cpu_percent=50.0, rss_bytes=1024**3), view("b", in_flight=1)]
    told = {figure.label: figure.text for figure in key_figures(views, {"a": BUSY, "b": SLOW})}
    assert told == {
        "Requests": "2.5/s",
        "Errors": "7.3 %",
        "Slowest p95": "2.5 s",
        "In flight": "3",
        "Queued": "1",
        "CPU": "50 %",
        "Memory": "1.0 GiB",
    }


def test_without_a_request_there_is_no_share_of_errors() -> None:
    told = {figure.label: (figure.text, figure.tone) for figure in key_figures([view("a")], {"a": IDLE})}
    assert told["Errors"] == ("none", Tone.IDLE) and told["Slowest p95"][0] == "none"


def test_few_errors_warn_and_many_are_bad() -> None:
    tones = [
        row.errors_tone for row in metric_rows([view("a"), view("b"), view("c")], {"a": BUSY, "b": SLOW, "c": IDLE})
    ]
    assert tones == [Tone.WARN, Tone.BAD, Tone.IDLE]


def test_an_agent_that_nobody_asked_has_dashes_and_not_zeros() -> None:
    row = metric_rows([view("a")], {})[0]
    assert (row.rate, row.errors, row.p50, row.p95, row.cpu, row.memory) == (None,) * 6
    assert metric_rows([view("a")], {"a": IDLE})[0].rate is None
