from __future__ import annotations

from pathlib import Path

import pytest

from agent_service.errors import EntryPointError
from agent_service.runtimes.react.references import References


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


def test_a_reference_that_leads_nowhere_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EntryPointError) as caught:
        resolve("env:MISSING", tmp_path)
    said = "The definition refers to 'env:MISSING', which is not set; set MISSING in the agent's environment."
    assert str(caught.value) == said
