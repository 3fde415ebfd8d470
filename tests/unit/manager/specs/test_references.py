"""`env:NAME` and `file:PATH`: what they stand for, and what is said when they lead nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manager.errors import ConfigError
from manager.specs.models import AgentConfig
from manager.specs.references import MAX_REFERENCED_BYTES, UnresolvedReference, resolve, resolve_env


def test_a_literal_stands_for_itself(tmp_path: Path) -> None:
    assert resolve("plain: text", {}, tmp_path) == "plain: text"


def test_env_reads_the_managers_environment(tmp_path: Path) -> None:
    assert resolve("env:K", {"K": "value"}, tmp_path) == "value"
    assert resolve("env:K", {"K": ""}, tmp_path) == ""


@pytest.mark.parametrize(
    ("content", "value"), [(b"v", "v"), (b"v\n", "v"), (b"v\r\n", "v"), (b"v\n\n", "v\n"), (b" v ", " v "), (b"", "")]
)
def test_a_files_last_newline_is_not_part_of_the_value(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert resolve("file:secret", {}, tmp_path) == value
    assert resolve(f"file:{tmp_path / 'secret'}", {}, Path("elsewhere")) == value


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("env:", "without a name"),
        ("env:GONE", "not set"),
        ("file:", "without a path"),
        ("file:gone", "is no file"),
        ("file:folder", "is no file"),
        ("file:large", "more than 64 KiB"),
        ("file:binary", "not UTF-8"),
        ("file:nul", "NUL"),
        ("file:a\0b", "without a path"),
    ],
)
def test_a_reference_that_leads_nowhere_says_so(tmp_path: Path, reference: str, found: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * (MAX_REFERENCED_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "nul").write_bytes(b"a\0b")
    with pytest.raises(UnresolvedReference, match=found) as caught:
        resolve(reference, {}, tmp_path)
    assert caught.value.remedy


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnresolvedReference, match="is no file"):
        resolve("file:pipe", {}, tmp_path)


def test_an_agents_environment_is_resolved_whole(tmp_path: Path) -> None:
    agent = AgentConfig(id="a", env={"K": "env:K", "MODE": "fast"})
    assert resolve_env(agent, {"K": "value", "OTHER": "x"}, tmp_path) == {"K": "value", "MODE": "fast"}


def test_every_unresolved_reference_names_agent_and_key(tmp_path: Path) -> None:
    agent = AgentConfig(id="a", env={"K": "env:GONE", "L": "file:gone", "M": "env:M"})
    with pytest.raises(ConfigError) as caught:
        resolve_env(agent, {"M": "hush"}, tmp_path)
    assert [issue.path for issue in caught.value.issues] == ["a.env.K", "a.env.L"]
    assert "'a'" in str(caught.value) and "hush" not in str(caught.value)
