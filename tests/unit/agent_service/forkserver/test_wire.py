from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from agent_service import contract
from agent_service.forkserver.connections import request_id
from agent_service.forkserver.profiles import MARK_VARIABLE
from agent_service.forkserver.wire import REQUEST, Shutdown, Spawn, pack, unpack

SPAWN = {
    "op": "spawn",
    "id": 1,
    "agent_id": "a",
    "instance_id": "a.1",
    "argv": ["x"],
    "environment": {},
    "directory": "/",
    "log_file": "/dev/null",
}


def test_any_environment_survives_the_wire() -> None:
    environment = {"PLAIN": "value", "UMLAUT": "grün", "BYTES": "caf\udce9\n", "caf\udce9": ""}
    assert unpack(json.loads(json.dumps(pack(environment)))) == environment
    assert unpack(pack({"MISSED": None})) == {"MISSED": None}


def test_a_request_is_told_by_its_op() -> None:
    assert REQUEST.validate_python(SPAWN) == Spawn.model_validate(SPAWN)
    assert REQUEST.validate_python({"op": "shutdown", "id": 2}) == Shutdown(id=2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"argv": []}, "at least 1 item"),
        ({"argv": ["a\0"]}, "take out the NUL character"),
        ({"environment": {"A=B": "x"}}, "String should match pattern"),
        ({"environment": {"": "x"}}, "at least 1 character"),
        ({"environment": {"A": "\0"}}, "take out the NUL character"),
        ({"directory": "\0"}, "take out the NUL character"),
        ({"agent_id": "../x"}, "String should match pattern"),
        ({"public_port": 0}, "greater than or equal to 1"),
        ({"public_port": 65536}, "less than or equal to 65535"),
        ({"open_files": 3}, "greater than or equal to 16"),
        ({"cpu_seconds": 0}, "greater than or equal to 1"),
    ],
)
def test_what_no_process_can_be_started_with_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        REQUEST.validate_python({**SPAWN, **change})


@pytest.mark.parametrize(
    ("line", "number"),
    [(b'{"id": 5}', 5), (b'{"id": "5"}', None), (b"{}", None), (b"[]", None), (b"{", None), (b"[" * 100_000, None)],
)
def test_a_refusal_names_the_request_where_it_can(line: bytes, number: int | None) -> None:
    assert request_id(line) == number


def test_processes_are_marked_by_the_variable_of_the_contract() -> None:
    assert MARK_VARIABLE == contract.ENV_INSTANCE_ID
