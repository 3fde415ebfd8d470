from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from manager.telemetry.self_report import SelfReport, StorageReport
from tests.unit.web.fakes import NOW
from tests.unit.web.sources import self_report
from web.self_facts import health_facts, identity_facts, storage_facts, worries
from web.tones import Tone


def storage(free: int | None) -> StorageReport:
    return StorageReport(path="/full", used_bytes=1, free_bytes=free)


def test_a_manager_that_is_well_has_no_worries() -> None:
    assert worries(self_report()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loop_lag_ms": 900.0}, "held up for 900 ms"),
        ({"store_ms": 2500.0}, "took 2.5 s"),
        ({"events_waiting": 5000}, "5000 events are not on disk yet"),
        ({"state": storage(1024**2)}, "state directory has 1 MiB left"),
        ({"logs": storage(0)}, "log directory has 0 MiB left"),
    ],
)
def test_each_worry_names_itself_and_its_remedy(changes: dict[str, Any], words: str) -> None:
    found = worries(self_report(**changes))
    assert len(found) == 1 and words in found[0].title and found[0].remedy.endswith(".")


def test_a_disk_that_cannot_be_asked_is_no_worry() -> None:
    report = self_report(state=storage(None))
    assert worries(report) == [] and "unknown" in [fact.text for fact in storage_facts(report)]


def test_what_wants_attention_has_a_tone_and_the_rest_has_none() -> None:
    tones = {fact.label: fact.tone for fact in health_facts(self_report(loop_lag_ms=900.0), NOW)}
    assert [label for label, tone in tones.items() if tone is not Tone.IDLE] == ["Event loop"]


def test_a_manager_that_has_just_begun_says_what_it_does_not_know_yet() -> None:
    nothing = dict.fromkeys(
        ("cpu_percent", "rss_bytes", "requests_per_second", "loop_lag_ms", "store_ms", "open_streams")
    )
    report: SelfReport = self_report(**nothing)
    texts = {fact.label: fact.text for fact in health_facts(report, NOW + timedelta(seconds=3))}
    assert texts["Uptime"] == "3 s" and texts["Event loop"] == "none yet" and texts["CPU"] == "unknown"
    assert worries(report) == []


def test_who_asks_for_no_token_says_how_to_ask_for_one() -> None:
    texts = {fact.label: fact.text for fact in identity_facts(self_report())}
    assert "MANAGER_TOKEN" in texts["Token"]
    assert {fact.label: fact.text for fact in identity_facts(self_report(token_required=True))}["Token"] == "asked for"
