from __future__ import annotations

from manager.telemetry.traffic import Recent
from tests.unit.web.fakes import FakeClock, FakeSeries
from web.figures import NO_FIGURES, NO_SPARKS, FigureReader, figures_of
from web.tones import Tone

BUSY = Recent(requests=100, requests_per_second=2.04, errors=1, error_ratio=0.01, p50_ms=12.2, p95_ms=80.4)


def test_figures_are_told_in_few_words() -> None:
    figures = figures_of(BUSY, NO_SPARKS)
    assert (figures.latency, figures.errors, figures.rate) == ("12 / 80 ms", "1.0 %", "2.0/s")
    assert figures.errors_tone is Tone.WARN


def test_latencies_of_different_size_each_have_their_unit() -> None:
    assert figures_of(Recent(1, 1.0, 0, 0.0, 900.0, 1_400.0), NO_SPARKS).latency == "900 ms / 1.4 s"


def test_without_requests_there_is_nothing_to_tell() -> None:
    assert figures_of(None, NO_SPARKS) == figures_of(Recent(), NO_SPARKS) == NO_FIGURES


def test_requests_that_reached_no_instance_have_no_latency() -> None:
    figures = figures_of(Recent(requests=3, requests_per_second=0.01, errors=3, error_ratio=1.0), NO_SPARKS)
    assert (figures.latency, figures.errors, figures.rate) == (None, "100 %", "1/min")
    assert figures.errors_tone is Tone.BAD


def test_an_agent_without_errors_is_not_coloured() -> None:
    assert figures_of(Recent(1, 1.0, 0, 0.0, 1.0, 1.0), NO_SPARKS).errors_tone is Tone.IDLE


def test_figures_are_read_anew_after_a_while_and_with_each_point() -> None:
    clock, series = FakeClock(), FakeSeries()
    reader = FigureReader(series, clock)
    assert reader.current()["planner"] == NO_FIGURES
    series.requests["planner"] = BUSY
    clock.move(seconds=1)
    assert reader.current()["planner"] == NO_FIGURES
    clock.move(seconds=1)
    assert reader.current()["planner"].rate == "2.0/s"
    series.points["planner"] = {"rss_bytes": [1.0, 2.0]}
    assert reader.current()["planner"].sparks.memory is None
    series.version += 1
    assert reader.current()["planner"].sparks.memory is not None
