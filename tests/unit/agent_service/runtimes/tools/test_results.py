from __future__ import annotations

from typing import Any

import pytest
from mcp.types import CallToolResult

from agent_service.runtimes.tools.results import (
    MAX_IMAGE_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    artifact_of,
    content_of,
    error_text,
)

TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}


def result(*content: dict[str, Any], **more: Any) -> CallToolResult:
    return CallToolResult.model_validate({"content": content, **more})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([TEXT], "hello"),
        ([TEXT, TEXT], "hello\nhello"),
        ([], ""),
        ([{"type": "audio", "data": "AA", "mimeType": "audio/wav"}], "[audio of type audio/wav is left out]"),
        ([{"type": "resource_link", "name": "notes", "uri": "file:///n.txt"}], "notes: file:///n.txt"),
        ([{"type": "resource", "resource": {"uri": "file:///n.txt", "text": "inside"}}], "inside"),
        (
            [{"type": "resource", "resource": {"uri": "file:///n.zip", "blob": "AA", "mimeType": "application/zip"}}],
            "[the file file:///n.zip of type application/zip is left out]",
        ),
    ],
)
def test_what_can_be_told_in_words_is_one_text(content: list[dict[str, Any]], expected: str) -> None:
    assert content_of(result(*content)) == expected


def test_images_make_it_a_list_of_blocks() -> None:
    blob = {"type": "resource", "resource": {"uri": "file:///i.png", "blob": "BBBB", "mimeType": "image/png"}}
    assert content_of(result(TEXT, IMAGE, blob)) == [
        TEXT,
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "image", "base64": "BBBB", "mime_type": "image/png"},
    ]


def test_structured_content_alone_is_told_as_json() -> None:
    assert content_of(result(structuredContent={"n": "é"})) == '{"n": "é"}'


def test_too_much_is_cut_and_says_so() -> None:
    half = {"type": "text", "text": "x" * (MAX_TEXT_CHARACTERS - 10)}
    content = content_of(result(half, half))
    assert isinstance(content, str)
    assert content.endswith(f"[{MAX_TEXT_CHARACTERS - 20} more characters are left out]")
    assert len(content) < MAX_TEXT_CHARACTERS + 100
    image = {**IMAGE, "data": "A" * MAX_IMAGE_CHARACTERS}
    blocks = content_of(result(image, IMAGE))
    assert isinstance(blocks, list)
    assert [block["type"] for block in blocks] == ["image", "text"]


def test_the_artifact_is_the_structured_content_unless_it_is_too_long() -> None:
    assert artifact_of(result(TEXT)) is None
    assert artifact_of(result(structuredContent={"n": 1})) == {"structured_content": {"n": 1}}
    assert artifact_of(result(structuredContent={"n": "x" * MAX_TEXT_CHARACTERS})) is None


def test_an_error_always_says_something() -> None:
    assert error_text(result(TEXT, IMAGE)) == "hello"
    assert error_text(result()) == "The tool failed and did not say why."
