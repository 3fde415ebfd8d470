from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.registry.waiting_line import WaitingLine


def line(*items: str) -> WaitingLine[str]:
    """Each item's first letter is its client."""
    made: WaitingLine[str] = WaitingLine()
    for item in items:
        made.join(item[0], item)
    return made


def served(waiting: WaitingLine[str]) -> list[str]:
    return [waiting.next() for _ in range(len(waiting))]


def test_clients_take_turns_and_each_is_served_in_order() -> None:
    assert served(line("a1", "a2", "a3", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_leaves_is_passed_over() -> None:
    waiting = line("a1", "a2", "b1")
    waiting.leave("a", "a1")
    waiting.leave("b", "b1")
    waiting.leave("b", "b1")
    assert len(waiting) == 1 and served(waiting) == ["a2"]


def test_an_empty_line_has_no_next() -> None:
    with pytest.raises(KeyError):
        line().next()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["join", "leave", "next"]))))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, str]]) -> None:
    waiting: WaitingLine[str] = WaitingLine()
    inside: list[str] = []
    for number, (client, what) in enumerate(steps):
        if what == "join":
            inside.append(f"{client}{number}")
            waiting.join(client, inside[-1])
        elif inside and what == "leave":
            gone = inside.pop()
            waiting.leave(gone[0], gone)
        elif inside:
            taken = waiting.next()
            # Of each client the first, whoever's turn it is.
            assert taken == next(item for item in inside if item[0] == taken[0])
            inside.remove(taken)
        assert len(waiting) == len(inside) and sorted(waiting) == sorted(inside)


@given(st.lists(st.sampled_from("abcd"), min_size=1))
def test_no_client_is_served_twice_while_another_waits_untouched(clients: list[str]) -> None:
    waiting: WaitingLine[str] = WaitingLine()
    for number, client in enumerate(clients):
        waiting.join(client, f"{client}{number}")
    first_round = [waiting.next()[0] for _ in range(len(set(clients)))]
    assert sorted(first_round) == sorted(set(clients))
