from __future__ import annotations

import socket
from decimal import Decimal
from typing import Any

import pytest

from agent_service.definition import ModelParameters
from agent_service.runtimes.react.usage import Tally, UsageMeter, UsageTotals, load_prices, price

TAKEN = {"input_tokens": 1_000_000, "output_tokens": 100_000}


def parameters(**changes: Any) -> ModelParameters:
    return ModelParameters.model_validate({"provider": "openai", "model": "gpt-4o", "api_key": "env:KEY", **changes})


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("prices must not ask the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_known_model_has_a_price() -> None:
    assert price(parameters(), TAKEN) == Decimal("3.5")


@pytest.mark.parametrize(
    ("provider", "model", "dollars"),
    [("anthropic", "claude-3-5-haiku-latest", "1.2"), ("google", "gemini-2.0-flash", "0.14")],
)
def test_other_providers_models_have_prices_too(provider: str, model: str, dollars: str) -> None:
    assert price(parameters(provider=provider, model=model), TAKEN) == Decimal(dollars)


def test_cached_tokens_cost_less() -> None:
    cached = {**TAKEN, "input_token_details": {"cache_read": 1_000_000}}
    assert Decimal(0) < (price(parameters(), cached) or 0) < Decimal("3.5")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "nobody-knows-this-one"},
        {"base_url": "http://localhost:8080/v1"},
        {"provider": "ollama"},
        {"provider": "scripted", "script": ["x"]},
    ],
)
def test_a_model_that_the_table_does_not_have_has_no_price(changes: dict[str, Any]) -> None:
    load_prices(parameters(**changes))
    assert price(parameters(**changes), TAKEN) is None


def test_costs_add_up_in_the_answer_and_in_the_metrics() -> None:
    totals, tally = UsageTotals(), Tally()
    meter = UsageMeter(parameters(), totals)
    meter.count(tally, TAKEN)
    meter.count(tally, TAKEN)
    assert tally.as_json() == {
        "input_tokens": 2_000_000,
        "output_tokens": 200_000,
        "total_tokens": 2_200_000,
        "model_calls": 2,
        "cost_usd": 7.0,
    }
    costs = [sample for family in totals.collect() for sample in family.samples if "cost" in sample.name]
    assert [(sample.labels, sample.value) for sample in costs] == [({"model": "gpt-4o"}, 7.0)]


def test_one_call_without_a_known_price_leaves_the_cost_open() -> None:
    tally = Tally()
    UsageMeter(parameters(), UsageTotals()).count(tally, TAKEN)
    UsageMeter(parameters(), UsageTotals()).count(tally, None)
    assert (tally.model_calls, tally.as_json()["cost_usd"]) == (2, None)
