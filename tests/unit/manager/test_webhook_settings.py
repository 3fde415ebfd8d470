from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from manager.webhook_settings import Webhooks, WebhookSettings, checked_url

LEAST = {"name": "oncall", "url": "https://hooks.example.com/x", "secret": "env:SECRET"}


def settings(**changes: Any) -> WebhookSettings:
    return WebhookSettings.model_validate({**LEAST, **changes})


def test_the_least_tells_of_what_needs_a_person() -> None:
    least = settings()
    assert (least.kinds, least.agents) == (("failed", "unresponsive", "lost"), None)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"secret": "written-out-secret-for-all-to-read"}, "keep it elsewhere"),
        ({"url": "hooks.example.com"}, "write http://"),
        ({"url": "https://user:pw@hooks.example.com"}, "without user"),
        ({"kinds": ["faild"]}, "did you mean 'failed'"),
        ({"kinds": ["webhook_failed"]}, "did you mean|name a state"),
        ({"kinds": []}, "at least 1"),
        ({"agents": []}, "at least 1"),
        ({"timeoutSeconds": "10"}, "valid number"),
        ({"headers": {}}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], advice: str) -> None:
    with pytest.raises(ValidationError, match=advice):
        settings(**changes)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="oncall is there twice"):
        TypeAdapter(Webhooks).validate_python((settings(), settings()))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x?y=z", "https://[::1]/", "https://hooks.example.com"])
def test_ordinary_addresses_are_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize("url", ["https://", "https://host:0", "https://host:99999", "https://h/#f", "https://h/\n"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write|take out"):
        checked_url(url)
