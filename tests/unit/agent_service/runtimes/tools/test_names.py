from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agent_service.runtimes.tools.names import unique_names

SERVERS = st.sampled_from(["a", "b", "a_b", "server-with-a-name-of-its-own-that-is-rather-long"])
NAMES = st.text(st.sampled_from("ab_/.é"), max_size=80)


def test_a_name_that_nobody_else_has_stays() -> None:
    assert unique_names([("a", "read"), ("b", "write")]) == ["read", "write"]


def test_where_two_have_the_same_both_carry_their_servers_names() -> None:
    assert unique_names([("a", "read"), ("b", "read"), ("b", "write")]) == ["a_read", "b_read", "write"]


def test_what_no_provider_takes_is_replaced() -> None:
    assert unique_names([("a", "files/read.all")]) == ["files_read_all"]


@given(st.lists(st.tuples(SERVERS, NAMES), unique=True, max_size=30))
def test_names_are_unique_and_usable_and_the_same_every_time(tools: list[tuple[str, str]]) -> None:
    names = unique_names(tools)
    assert len(set(names)) == len(tools)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert unique_names(tools) == names
