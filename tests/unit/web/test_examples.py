from __future__ import annotations

import shlex

import pytest

from web.examples import curl, example_of


@pytest.mark.parametrize(
    ("description", "example"),
    [
        ('Answers. Try {"hello": "world", "sleep_ms": 500}.', {"hello": "world", "sleep_ms": 500}),
        ('Uses {braces} first, then {"a": {"b": [1]}} and {"c": 2}.', {"a": {"b": [1]}}),
        ("Says nothing of the kind.", {}),
        ("{" * 2000, {}),
        ("", {}),
    ],
)
def test_the_first_object_that_a_description_quotes_is_the_example(description: str, example: dict) -> None:
    assert example_of(description) == example


def test_the_shell_takes_the_request_apart_as_it_was_meant() -> None:
    words = shlex.split(curl("http://127.0.0.1:8000/", "planner", {"text": "it's €5"}, with_token=False))
    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8000/api/agent-services/planner/execute"]
    assert words[-1] == '{"parameters": {"text": "it\'s €5"}}'


def test_with_a_token_the_shell_is_asked_for_it_and_never_told() -> None:
    assert '"X-Manager-Token: $MANAGER_TOKEN"' in curl("http://m", "planner", {}, with_token=True)
