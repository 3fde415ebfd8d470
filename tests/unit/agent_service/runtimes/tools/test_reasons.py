from __future__ import annotations

import httpx
import pytest
from mcp.shared.exceptions import McpError
from mcp.types import ErrorData

from agent_service.errors import EntryPointError
from agent_service.runtimes.tools.reasons import is_foreseen, reason_of

REQUEST = httpx.Request("GET", "http://user:pass@host/mcp?key=s3cret")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("it died", "it died"),
        (EntryPointError("env:KEY is not set."), "env:KEY is not set."),
        (TimeoutError(), "it did not get ready in time"),
        (
            httpx.HTTPStatusError("for url http://…", request=REQUEST, response=httpx.Response(403)),
            "it answered 403 Forbidden; check its headers",
        ),
        (httpx.ConnectError("refused"), "it cannot be reached (refused)"),
        (McpError(ErrorData(code=1, message="no licence")), "it answered with the error 'no licence'"),
        (PermissionError(13, "Permission denied"), "it cannot be started (Permission denied)"),
        (ExceptionGroup("", [ExceptionGroup("", [TimeoutError()]), ValueError()]), "it did not get ready in time"),
        (LookupError("bug"), "LookupError: bug"),
    ],
)
def test_every_error_is_told_in_words_without_address(error: Exception | str, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_reason_is_never_longer_than_a_line() -> None:
    assert len(reason_of("x" * 10_000)) == 500


def test_only_what_servers_and_networks_do_is_foreseen() -> None:
    assert is_foreseen(ExceptionGroup("", [TimeoutError(), httpx.ReadError("")]))
    assert not is_foreseen(ExceptionGroup("", [TimeoutError(), LookupError("bug")]))
