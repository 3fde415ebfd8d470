from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.errors import EntryPointError
from agent_service.runtimes.react.references import MAX_BYTES, References


def resolve(text: str, directory: Path) -> str:
    return References({"KEY": "from the environment"}, directory).resolve(text)


def test_a_reference_stands_for_its_value_and_any_other_text_for_itself(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\r\n")
    texts = ("env:KEY", "file:key", f"file:{tmp_path}/key", "plain", "http://x")
    assert [resolve(text, tmp_path) for text in texts] == [
        "from the environment",
        "from a file",
        "from a file",
        "plain",
        "http://x",
    ]


@pytest.mark.parametrize("reference", ["env:MISSING", "env:", "file:missing", "file:", "file:large", "file:binary"])
def test_a_reference_that_leads_nowhere_is_named(reference: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(EntryPointError, match=reference):
        resolve(reference, tmp_path)
