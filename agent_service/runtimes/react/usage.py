"""Tokens and what they cost: per call in the answer, per agent in the metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent_service.definition import ModelParameters

# Providers by the names that the price table has for them; the others cost nothing that it knows of.
_PRICED = {"openai": "openai", "anthropic": "anthropic", "google": "google"}


@dataclass
class Tally:
    """What one call of the agent has used. `cost_usd` is None as soon as one model call has no known price."""

    input_tokens: int = 0
    output_tokens: int = 0
    model_calls: int = 0
    cost_usd: Decimal | None = Decimal(0)

    def as_json(self) -> dict[str, Any]:
        """`usage` of the answer."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "model_calls": self.model_calls,
            "cost_usd": None if self.cost_usd is None or not self.model_calls else float(self.cost_usd),
        }


class UsageTotals(Collector):
    """Counters of one agent, over every model that it has had."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str], int] = {}
        self._costs: dict[str, Decimal] = {}
        self._calls: dict[tuple[str, str], int] = {}

    def add_tokens(self, model: str, kind: str, count: int) -> None:
        self._tokens[model, kind] = self._tokens.get((model, kind), 0) + count

    def add_cost(self, model: str, usd: Decimal) -> None:
        self._costs[model] = self._costs.get(model, Decimal(0)) + usd

    def add_call(self, model: str, outcome: str) -> None:
        self._calls[model, outcome] = self._calls.get((model, outcome), 0) + 1

    def collect(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily("agent_model_tokens", "Tokens by model and kind.", labels=("model", "kind"))
        for labels, count in self._tokens.items():
            tokens.add_metric(labels, count)
        calls = CounterMetricFamily(
            "agent_model_calls", "Tries to call a model, by how they ended.", labels=("model", "outcome")
        )
        for labels, count in self._calls.items():
            calls.add_metric(labels, count)
        costs = CounterMetricFamily("agent_model_cost_usd", "Cost in US dollars, where known.", labels=("model",))
        for model, usd in self._costs.items():
            costs.add_metric((model,), float(usd))
        yield from (tokens, calls, costs)


class UsageMeter:
    """Counts the calls of one model."""

    def __init__(self, parameters: ModelParameters, totals: UsageTotals) -> None:
        self._parameters = parameters
        self._totals = totals

    def call_ended(self, outcome: str) -> None:
        """One try has ended: succeeded, rate_limited, timed_out, unreachable, failed."""
        self._totals.add_call(self._parameters.model, outcome)

    def count(self, tally: Tally, usage: dict[str, Any] | None) -> None:
        """What the provider said that one call took; None where it said nothing."""
        tally.model_calls += 1
        counted = usage or {}
        taken, given = int(counted.get("input_tokens", 0)), int(counted.get("output_tokens", 0))
        tally.input_tokens += taken
        tally.output_tokens += given
        self._totals.add_tokens(self._parameters.model, "input", taken)
        self._totals.add_tokens(self._parameters.model, "output", given)
        cost = price(self._parameters, counted) if counted else None
        tally.cost_usd = None if cost is None or tally.cost_usd is None else tally.cost_usd + cost
        if cost is not None:
            self._totals.add_cost(self._parameters.model, cost)


def price(parameters: ModelParameters, usage: dict[str, Any]) -> Decimal | None:
    """US dollars by the table that comes with genai-prices; None for a model or an address that it does not know.

    The table is data of the installed package: nothing asks the network.
    """
    provider = _PRICED.get(parameters.provider)
    if provider is None:
        return None
    from genai_prices import Usage, calc_price

    details = usage.get("input_token_details") or {}
    taken = Usage(
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        cache_read_tokens=details.get("cache_read", 0),
        cache_write_tokens=details.get("cache_creation", 0),
    )
    try:
        if parameters.base_url is not None:
            return calc_price(taken, parameters.model, provider_api_url=parameters.base_url).total_price
        return calc_price(taken, parameters.model, provider_id=provider).total_price
    except LookupError:
        return None


def load_prices(parameters: ModelParameters) -> None:
    """Read the table, which takes 0.4 s, where the model may be in it."""
    if parameters.provider in _PRICED:
        price(parameters, {})
