"""An agent described by data alone: the value of `definition`, one shape in the config, over the API and in stores.

Its keys are snake_case everywhere. Imports pydantic and the standard library only.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

Reference = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
"""Where a secret is found, never the secret: `env:NAME` or `file:PATH`, resolved in the agent's own process."""

Provider = Literal["openai", "ollama", "anthropic", "google", "scripted"]
Transport = Literal["http", "stdio", "sse"]
FailMode = Literal["open", "closed"]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,63}$")]

KEYLESS: tuple[Provider, ...] = ("ollama", "scripted")
"""Providers that ask for no key wherever they are."""


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


def _speakable(topic: str) -> str:
    if not re.search(r"[^\W_]", topic):
        raise ValueError("write a topic with at least one letter or digit")
    return topic


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_compilable)]
"""A Python regular expression."""
Topic = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_speakable)]


def _either(key: str, values: list[str], then: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    """What of the rules between keys a JSON Schema can say."""
    return {"if": {"properties": {key: {"enum": values}}, "required": [key]}, "then": then, "else": otherwise}


def _only(needed: str, foreign: str) -> dict[str, Any]:
    return {"required": [needed], "properties": {needed: {"type": "string"}, foreign: {"type": "null"}}}


class DefinitionPart(BaseModel):
    """Frozen; unknown keys are refused, so that a misspelt one is not silently without effect, and so are values of
    another type: the text "0.4" is no number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelParameters(DefinitionPart):
    """Which model answers, and how it is asked."""

    model_config = ConfigDict(
        json_schema_extra=_either(
            "provider",
            ["scripted"],
            {"required": ["script"], "properties": {"script": {"type": "array"}}},
            {
                "properties": {"script": {"type": "null"}},
                **_either(
                    "provider",
                    list(KEYLESS),
                    {},
                    {
                        "anyOf": [
                            {"required": ["api_key"], "properties": {"api_key": {"type": "string"}}},
                            {"required": ["base_url"], "properties": {"base_url": {"type": "string"}}},
                        ]
                    },
                ),
            },
        )
    )

    provider: Provider = Field(
        description="Who serves the model: openai (and every server compatible with it), ollama, anthropic, google, "
        "or scripted, which needs no model."
    )
    model: str = Field(min_length=1, max_length=200, description="The model's name, as its provider spells it.")
    base_url: str | None = Field(
        default=None,
        # No user, password or query: what is secret is referred to.
        pattern=r"^https?://[^\s@/?#]+(/[^\s?#]*)?$",
        description="Where the provider is asked, when not at its own address. In the manager's config {sidecar:ID} "
        "stands for HOST:PORT of a sidecar.",
    )
    api_key: Reference | None = Field(
        default=None,
        validate_default=True,
        description="A reference to the key, never the key: env:NAME or file:PATH. Hosted providers demand one.",
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="Of sampling; the provider's when null.")
    max_tokens: int | None = Field(default=None, ge=1, description="The longest answer; the provider's when null.")
    timeout_seconds: float = Field(
        default=120, gt=0, le=3600, allow_inf_nan=False, description="How long one try of one call may take."
    )
    retries: int = Field(
        default=3, ge=0, le=20, description="Further tries after a rate limit, an overload or a broken connection."
    )
    script: list[JsonValue] | None = Field(
        default=None,
        validate_default=True,
        description="For the provider scripted, and no other: its answers, one for each call, in turn.",
    )

    @field_validator("api_key")
    @classmethod
    def _hosted_models_need_a_key(cls, value: str | None, info: ValidationInfo) -> str | None:
        provider = info.data.get("provider", KEYLESS[0])
        # An address that is wrong in itself is told once.
        if value is None and provider not in KEYLESS and info.data.get("base_url", "") is None:
            raise ValueError(f"the provider {provider!r} needs a key: write a reference, env:NAME or file:PATH")
        return value

    @field_validator("script")
    @classmethod
    def _script_belongs_to_scripted(cls, value: list[JsonValue] | None, info: ValidationInfo) -> list[JsonValue] | None:
        if "provider" in info.data and (value is not None) != (info.data["provider"] == "scripted"):
            raise ValueError("give a script to the provider 'scripted', and to no other")
        return value


class OutputConstraints(DefinitionPart):
    """Checked on the answer's text. Patterns are Python regular expressions that are searched for."""

    max_chars: int | None = Field(default=None, ge=1, description="The longest answer, in characters.")
    must_match: Pattern | None = Field(
        default=None, description="A Python regular expression that is found in every answer."
    )
    must_not_match: Pattern | None = Field(
        default=None, description="A Python regular expression that is found in no answer."
    )


class Guardrails(DefinitionPart):
    """What the agent refuses to talk about and what its answers must look like."""

    blocked_topics: list[Topic] = Field(
        default_factory=list,
        description="Words or phrases; whoever asks or answers with one of them is refused.",
    )
    output_constraints: OutputConstraints = Field(
        default_factory=OutputConstraints, description="What an answer must look like; another one is withheld."
    )


class Behavior(DefinitionPart):
    """How the agent talks, and with which model."""

    system_prompt: str = Field(default="", description="What the model is told before every conversation.")
    model_parameters: ModelParameters = Field(description="Which model answers, and how it is asked.")
    guardrails: Guardrails = Field(default_factory=Guardrails, description="What the agent refuses to hear and to say.")


class McpServer(DefinitionPart):
    """One MCP server, whose tools the agent may use."""

    model_config = ConfigDict(
        json_schema_extra=_either("transport", ["stdio"], _only("command", "url"), _only("url", "command"))
    )

    name: ServerName = Field(description="What logs, metrics and errors call it; unique within the agent.")
    transport: Transport = Field(
        description="http (streamable HTTP) or sse, at url; stdio: a process of its own, by command."
    )
    url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        validate_default=True,
        description="For http and sse: the server's address. In the manager's config {sidecar:ID} stands for HOST:PORT "
        "of a sidecar.",
    )
    command: str | None = Field(
        default=None,
        min_length=1,
        validate_default=True,
        description="For stdio: the executable; the process ends with its agent.",
    )
    args: list[str] = Field(default_factory=list, description="For stdio: the executable's arguments.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="For http and sse: sent with each request; a value may be a reference."
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="For stdio: environment variables of the process; a value may be a reference."
    )
    allowed_tools: list[str] | None = Field(
        default=None, description="The names of the tools that the agent may use; all of them when null."
    )
    fail_mode: FailMode = Field(
        default="open",
        description="While the server is away, open: the agent goes on without its tools; closed: tasks get 503.",
    )
    timeout_seconds: float = Field(
        default=30, gt=0, le=3600, allow_inf_nan=False, description="How long a call may take, all tries together."
    )
    retries: int = Field(
        default=2, ge=0, le=20, description="Further tries of a call that was not begun, or may be done twice."
    )

    @field_validator("url", "command")
    @classmethod
    def _address_fits_the_transport(cls, value: str | None, info: ValidationInfo) -> str | None:
        transport = info.data.get("transport")
        is_needed = (transport == "stdio") == (info.field_name == "command")
        if transport is not None and is_needed != (value is not None):
            verb = "needs" if is_needed else "takes no"
            raise ValueError(f"transport {transport!r} {verb} {info.field_name}")
        return value


class RetrievalConfig(DefinitionPart):
    """What of a collection is found."""

    top_k: int = Field(default=4, ge=1, le=1000, description="How many passages at most.")
    similarity_threshold: float = Field(default=0, ge=0, le=1, description="How near a passage must be, 0 to 1.")


class RagCollection(DefinitionPart):
    """A collection of documents that the agent may search."""

    collection_id: str = Field(min_length=1, max_length=200, description="Which collection.")
    retrieval_config: RetrievalConfig = Field(default_factory=RetrievalConfig, description="What of it is found.")


class Capabilities(DefinitionPart):
    """What the agent can reach."""

    mcp_servers: list[McpServer] = Field(default_factory=list, description="The servers whose tools it may use.")
    rag_collections: list[RagCollection] = Field(
        default_factory=list, description="Belongs to a later version: leave it out.", json_schema_extra={"maxItems": 0}
    )

    @field_validator("mcp_servers")
    @classmethod
    def _names_are_unique(cls, value: list[McpServer]) -> list[McpServer]:
        names = [server.name for server in value]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"MCP servers must have different names; {', '.join(doubled)} occurs more than once")
        return value

    @field_validator("rag_collections")
    @classmethod
    def _no_retrieval_yet(cls, value: list[RagCollection]) -> list[RagCollection]:
        if value:
            raise ValueError("rag_collections belong to a later version; leave them out")
        return value


class Memory(DefinitionPart):
    """What the agent remembers between tasks."""

    kind: Literal["none", "thread"] = Field(
        default="none", description="none: nothing; thread: each conversation, under its thread_id."
    )


class Tracing(DefinitionPart):
    """Whether, and how many of its tasks, are traced."""

    enabled: bool = Field(default=True, description="Whether tasks are traced.")
    sample_rate: float = Field(default=1, ge=0, le=1, description="What share of them, 0 to 1.")


class AgentDefinition(DefinitionPart):
    """An agent as data."""

    behavior: Behavior = Field(description="How the agent talks, and with which model.")
    capabilities: Capabilities = Field(default_factory=Capabilities, description="What the agent can reach.")
    output_schema: dict[str, Any] | None = Field(
        default=None, description="A JSON Schema (2020-12) that every answer satisfies; any text when null."
    )
    memory: Memory = Field(default_factory=Memory, description="What the agent remembers between tasks.")
    tracing: Tracing = Field(default_factory=Tracing, description="Whether, and how many of its tasks, are traced.")
