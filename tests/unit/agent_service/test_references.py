"""`env:NAME` and `file:PATH`: what they stand for, and what is said when they lead nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_service.references import MAX_REFERENCED_BYTES, UnresolvedReference, resolve


def look_up(value: str, environ: Mapping[str, str], base: Path) -> str:
    return resolve(value, environ, base, whose="the reader's")


def test_a_literal_stands_for_itself(tmp_path: Path) -> None:
    assert look_up("plain: text", {}, tmp_path) == "plain: text"


def test_env_reads_the_environment(tmp_path: Path) -> None:
    assert look_up("env:K", {"K": "value"}, tmp_path) == "value"
    assert look_up("env:K", {"K": ""}, tmp_path) == ""


@pytest.mark.parametrize(
    ("content", "value"), [(b"v", "v"), (b"v\n", "v"), (b"v\r\n", "v"), (b"v\n\n", "v\n"), (b" v ", " v "), (b"", "")]
)
def test_a_files_last_newline_is_not_part_of_the_value(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert look_up("file:secret", {}, tmp_path) == value
    assert look_up(f"file:{tmp_path / 'secret'}", {}, Path("elsewhere")) == value


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
        look_up(reference, {}, tmp_path)
    assert caught.value.remedy


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnresolvedReference, match="is no file"):
        look_up("file:pipe", {}, tmp_path)


def test_whose_environment_it_is_stands_in_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UnresolvedReference) as caught:
        look_up("env:GONE", {}, tmp_path)
    assert str(caught.value) == "'env:GONE', which is not set; set GONE in the reader's environment"
