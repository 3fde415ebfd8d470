from __future__ import annotations

import asyncio

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.agent_service.harness import Adapter


def scrape(accept: str) -> httpx.Response:
    async def scenario() -> httpx.Response:
        adapter = Adapter()
        await adapter.execute()
        await adapter.execute({"fail": "x"})
        async with adapter.client() as client:
            return await client.get("/metrics", headers={"Accept": accept})

    return asyncio.run(scenario())


def test_the_exposition_has_every_outcome_and_no_created_series() -> None:
    response = scrape("*/*")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert set(families) == {"agent_task_running", "agent_tasks_queued", "agent_tasks", "agent_task_duration_seconds"}
    counted = {sample.labels["outcome"]: sample.value for sample in families["agent_tasks"].samples}
    assert counted == {"succeeded": 1, "failed": 1, "cancelled": 0, "rejected": 0}
    assert all(family.documentation.endswith(".") for family in families.values())
    assert "_created" not in response.text


def test_openmetrics_is_served_to_who_asks_for_it() -> None:
    response = scrape("application/openmetrics-text; version=1.0.0")
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics(response.text))  # type: ignore[no-untyped-call]
