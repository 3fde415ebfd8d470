"""From what a tool answered to what a model reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

MAX_TEXT_CHARACTERS = 100_000
"""More of one result would crowd out the conversation, and many a model's context."""
MAX_IMAGE_CHARACTERS = 8_000_000
"""Of base64, all images of a result together."""

Content = str | list[dict[str, Any]]


def content_of(result: CallToolResult) -> Content:
    """A text, or where there are images a list of LangChain content blocks. What is too long is cut, and says so."""
    room = _Room()
    blocks = [room.fitted(block) for content in result.content for block in _blocks(content)]
    if not blocks and result.structuredContent is not None:
        text = json.dumps(result.structuredContent, ensure_ascii=False)
        blocks = [room.fitted(_text(text))]
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks


def artifact_of(result: CallToolResult) -> dict[str, Any] | None:
    """The structured content for programs, as LangChain's own MCP tools have it; None where it is none, or too long."""
    if result.structuredContent is None or len(json.dumps(result.structuredContent)) > MAX_TEXT_CHARACTERS:
        return None
    return {"structured_content": result.structuredContent}


def error_text(result: CallToolResult) -> str:
    """What a failed tool says."""
    content = content_of(result)
    if isinstance(content, list):
        content = "\n".join(block["text"] for block in content if block["type"] == "text")
    return content or "The tool failed and did not say why."


class _Room:
    """How much of a result still goes to the model."""

    def __init__(self) -> None:
        self._text = MAX_TEXT_CHARACTERS
        self._images = MAX_IMAGE_CHARACTERS

    def fitted(self, block: dict[str, Any]) -> dict[str, Any]:
        if block["type"] == "image":
            return self._image(block)
        text: str = block["text"]
        kept = text[: self._text]
        self._text -= len(kept)
        left_out = len(text) - len(kept)
        return _text(f"{kept}\n[{left_out} more characters are left out]") if left_out else block

    def _image(self, block: dict[str, Any]) -> dict[str, Any]:
        size = len(block["base64"])
        if size > self._images:
            return _text(f"[an image of {size} base64 characters is left out]")
        self._images -= size
        return block


def _blocks(content: ContentBlock) -> Iterable[dict[str, Any]]:
    match content:
        case TextContent():
            yield _text(content.text)
        case ImageContent():
            yield _image(content.data, content.mimeType)
        case AudioContent():
            yield _text(f"[audio of type {content.mimeType} is left out]")
        case ResourceLink():
            yield _text(f"{content.title or content.name}: {content.uri}")
        case EmbeddedResource(resource=BlobResourceContents() as blob):
            if (blob.mimeType or "").startswith("image/"):
                yield _image(blob.blob, str(blob.mimeType))
            else:
                yield _text(f"[the file {blob.uri} of type {blob.mimeType or 'unknown'} is left out]")
        case EmbeddedResource(resource=TextResourceContents() as resource):
            yield _text(resource.text)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(data: str, mime_type: str) -> dict[str, Any]:
    return {"type": "image", "base64": data, "mime_type": mime_type}
