from __future__ import annotations

import pytest

from agent_service.runtimes.tools.errors import CallFailed, ServerLost
from agent_service.runtimes.tools.link import Link


def test_a_loss_fails_every_request_once_and_tells_which_were_begun() -> None:
    woken: list[int] = []
    given_up: list[str] = []
    link = Link(lambda: woken.append(1))
    with (
        link.pending(1, lambda: given_up.append("first")) as first,
        link.pending(2, lambda: given_up.append("second")) as second,
    ):
        link.began(1)
        link.began(None)
        assert str(link.lose("it died")) == "it died"
        assert str(link.lose("it died again")) == "it died"
        assert isinstance(first.failure, ServerLost) and first.failure.begun
        assert isinstance(second.failure, ServerLost) and not second.failure.begun
    assert (given_up, woken) == (["first", "second"], [1])
    assert link.in_flight == 0
    with pytest.raises(ServerLost, match="it died"), link.pending(3, lambda: None):
        raise AssertionError("a lost connection takes no request")


def test_the_first_failure_of_a_request_counts() -> None:
    link = Link(lambda: None)
    with link.pending(1, lambda: None) as request:
        link.fail(2, CallFailed("nobody's"))
        link.fail(1, CallFailed("too long"))
        link.lose("it died")
        assert str(request.failure) == "too long"
