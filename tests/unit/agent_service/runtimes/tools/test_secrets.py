from __future__ import annotations

from agent_service.runtimes.tools.secrets import Secrets


def test_only_what_came_from_a_reference_is_taken_out_of_messages() -> None:
    secrets = Secrets(lambda text: {"env:KEY": "hunter2", "env:PIN": "7"}.get(text, text))
    assert secrets.resolved({"a": "env:KEY", "b": "plain", "c": "env:PIN"}) == {"a": "hunter2", "b": "plain", "c": "7"}
    assert secrets.redact("plain hunter2 77") == "plain [redacted] 77"


def test_the_value_that_a_renewed_secret_had_before_stays_out_too() -> None:
    values = iter(["first-key", "second-key"])
    secrets = Secrets(lambda text: next(values))
    secrets.resolved({"a": "env:KEY"})
    secrets.resolved({"a": "env:KEY"})
    assert secrets.redact("first-key second-key") == "[redacted] [redacted]"
