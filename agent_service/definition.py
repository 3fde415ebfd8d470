"""An agent described by data alone: the value of `definition`, one shape in the config, over the API and in stores.

Its keys are snake_case everywhere. Imports pydantic and the standard library only.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import ErrorDetails

Reference = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
"""Where a secret is found, never the secret: `env:NAME` or `file:PATH`, resolved in the agent's own process."""

Provider = Literal["openai", "ollama", "anthropic", "google", "scripted"]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,63}$")]


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_compilable)]
"""A Python regular expression."""


def complaint(item: ErrorDetails) -> str:
    """One validation error with its path, in a sentence; texts are not quoted, since one of them may be a secret."""
    value = item["input"]
    found = repr(value) if isinstance(value, bool | int | float | None) else f"a value of type {type(value).__name__}"
    return f"{'.'.join(map(str, item['loc']))}: {item['msg']}, found {found}"


class DefinitionPart(BaseModel):
    """Frozen; unknown keys are refused, so that a misspelt one is not silently without effect."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelParameters(DefinitionPart):
    """Which model answers. `script`, for the provider `scripted` only: its answers, one for each call, in turn."""

    provider: Provider
    model: str = Field(min_length=1, max_length=200)
    # No user, password or query: what is secret is referred to.
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s@/?#]+(/[^\s?#]*)?$")
    api_key: Reference | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout_seconds: float = Field(default=120, gt=0, le=3600)
    retries: int = Field(default=3, ge=0, le=20)
    script: list[JsonValue] | None = None

    @model_validator(mode="after")
    def _script_belongs_to_scripted(self) -> ModelParameters:
        if (self.script is not None) != (self.provider == "scripted"):
            raise ValueError("give a script to the provider 'scripted', and to no other")
        return self


class Guardrails(DefinitionPart):
    """What the agent refuses to talk about and what its answers must look like."""

    blocked_topics: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(default_factory=list)
    output_constraints: OutputConstraints = Field(default_factory=lambda: OutputConstraints())


class OutputConstraints(DefinitionPart):
    """Checked on the answer's text. Patterns are Python regular expressions that are searched for."""

    max_chars: int | None = Field(default=None, ge=1)
    must_match: Pattern | None = None
    must_not_match: Pattern | None = None


class Behavior(DefinitionPart):
    """How the agent talks, and with which model."""

    system_prompt: str = ""
    model_parameters: ModelParameters
    guardrails: Guardrails = Field(default_factory=Guardrails)


class McpServer(DefinitionPart):
    """One server of tools: `url` for http and sse, `command` and `args` for stdio. Times in seconds.

    `headers` and `env` may hold references. `allowed_tools`: None lets all of them through.
    """

    name: ServerName
    transport: Literal["http", "stdio", "sse"]
    url: str | None = Field(default=None, pattern=r"^https?://")
    command: str | None = Field(default=None, min_length=1)
    args: list[str] = Field(default_factory=list)
    headers: dict[str, str] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    allowed_tools: list[str] | None = None
    fail_mode: Literal["open", "closed"] = "open"
    timeout_seconds: float = Field(default=30, gt=0, le=3600)
    retries: int = Field(default=2, ge=0, le=20)

    @model_validator(mode="after")
    def _address_fits_the_transport(self) -> McpServer:
        needed, foreign = ("command", "url") if self.transport == "stdio" else ("url", "command")
        if getattr(self, needed) is None or getattr(self, foreign) is not None:
            raise ValueError(f"transport {self.transport!r} needs {needed} and takes no {foreign}")
        return self


class RetrievalConfig(DefinitionPart):
    """How many passages, and how near they must be (0 to 1)."""

    top_k: int = Field(default=4, ge=1, le=1000)
    similarity_threshold: float = Field(default=0, ge=0, le=1)


class RagCollection(DefinitionPart):
    """A collection of documents that the agent may search."""

    collection_id: str = Field(min_length=1, max_length=200)
    retrieval_config: RetrievalConfig = Field(default_factory=RetrievalConfig)


class Capabilities(DefinitionPart):
    """What the agent can reach."""

    mcp_servers: list[McpServer] = Field(default_factory=list)
    rag_collections: list[RagCollection] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Capabilities:
        names = [server.name for server in self.mcp_servers]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"MCP servers must have different names; {', '.join(doubled)} occurs more than once")
        return self

    @model_validator(mode="after")
    def _no_retrieval_yet(self) -> Capabilities:
        if self.rag_collections:
            raise ValueError("rag_collections belong to a later version; leave them out")
        return self


class Memory(DefinitionPart):
    """`thread` keeps each conversation under its thread id."""

    kind: Literal["none", "thread"] = "none"


class Tracing(DefinitionPart):
    """Whether, and what share of calls (0 to 1), is traced."""

    enabled: bool = True
    sample_rate: float = Field(default=1, ge=0, le=1)


class AgentDefinition(DefinitionPart):
    """The whole of it. `output_schema` is a JSON Schema that every answer satisfies."""

    behavior: Behavior
    capabilities: Capabilities = Field(default_factory=Capabilities)
    output_schema: dict[str, Any] | None = None
    memory: Memory = Field(default_factory=Memory)
    tracing: Tracing = Field(default_factory=Tracing)
