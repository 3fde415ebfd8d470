"""The config file as models: one agent, and the document that holds them. The JSON Schema comes from here."""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, ValidationInfo, WithJsonSchema, field_validator

from agent_service.contract import AgentId, AgentSpec
from agent_service.definition import AgentDefinition
from agent_service.redaction import shown
from manager.settings import AgentSettings, RuntimeSettings, StrictCamelModel
from manager.specs.definitions import public_definition
from manager.specs.extras import Extra
from manager.specs.probe import ProbeSettings

DUMMY = "dummy"
REACT = "react"
"""The entry point of an agent that is described by its `definition`."""
RESERVED_ENV_PREFIXES = ("AGENT_", "MANAGER_TOKEN")


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("take out the NUL character, which no operating system passes to a process")
    return value


def _env_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("name it with letters, digits and '_', not beginning with a digit")
    if name.upper().startswith(RESERVED_ENV_PREFIXES):
        raise ValueError("choose another name: AGENT_* and MANAGER_TOKEN* are what the manager tells an agent")
    return name


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))


def _entry_point(value: str) -> str:
    module, colon, attribute = value.partition(":")
    if value in (DUMMY, REACT) or (colon and _is_dotted_name(module) and _is_dotted_name(attribute)):
        return value
    raise ValueError("write 'dummy', 'react' or 'package.module:attribute'; a program in another language is a command")


ProcessText = Annotated[str, AfterValidator(_no_nul)]
EntryPoint = Annotated[
    str,
    AfterValidator(_entry_point),
    # Looser than the check, so that an editor refuses nothing that is right.
    WithJsonSchema({"type": "string", "pattern": r"^(dummy|react|[^\s:.][^\s:]*:[^\s:.][^\s:]*)$"}),
]
EnvName = Annotated[str, AfterValidator(_env_name)]
Env = Annotated[
    dict[EnvName, ProcessText],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": "^(?!AGENT_|MANAGER_TOKEN)[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"type": "string"},
        }
    ),
]
Port = Annotated[int, Field(ge=1, le=65_535)]


def _default_entry_point(data: dict[str, Any]) -> str | None:
    return None if data.get("command") else DUMMY


# Where the agent keeps what it remembers is settled when its process is started.
_TOLD = tuple(name for name in AgentSpec.model_fields if name != "state_directory")


class LimitSettings(StrictCamelModel):
    """What one process of the agent may use; over it the process is ended and its restart policy decides."""

    model_config = ConfigDict(alias_generator=None)

    memory_mb: Annotated[int, Field(ge=16, le=16 * 1024**2)] | None = Field(
        default=None, description="Resident memory of a process in MiB; over it the process is ended."
    )
    cpu_seconds: Annotated[int, Field(ge=1, le=2**31)] | None = Field(
        default=None, description="CPU time of a process over its whole life; the system ends it at that."
    )
    open_files: Annotated[int, Field(ge=64, le=2**20)] | None = Field(
        default=None, description="How many files and sockets a process may have open at once."
    )


class AgentConfig(AgentSettings):
    """One agent of the fleet, every value in place: what the file leaves out comes from `runtime`."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "properties": {"command": {"type": "array"}, "entryPoint": {"type": "string"}},
                "required": ["command", "entryPoint"],
            }
        }
    )

    id: AgentId = Field(
        description="The agent's name in URLs, logs and files: 1 to 63 of a-z, 0-9, '-' and '_'; unique."
    )
    name: str = Field(
        default_factory=lambda data: str(data["id"]),
        min_length=1,
        max_length=200,
        description="The agent's name for people; the id when absent.",
    )
    description: str = Field(default="", max_length=10_000, description="What the agent does, in a sentence.")
    command: tuple[ProcessText, ...] | None = Field(
        default=None,
        min_length=1,
        strict=False,
        description="Instead of entryPoint: any executable that speaks the adapter API, or has a probe; its arguments.",
    )
    entry_point: EntryPoint | None = Field(
        default_factory=_default_entry_point,
        description="'dummy' (the default), 'package.module:attribute' (a callable, a graph or a Runnable) or 'react'.",
    )
    definition: AgentDefinition | None = Field(
        default=None, description="The agent itself as data, for entryPoint 'react' and for no other."
    )
    probe: ProbeSettings | None = Field(
        default=None,
        description="Makes the command a sidecar: a process that does not speak the adapter API and is asked by HTTP.",
    )
    depends_on: tuple[AgentId, ...] = Field(
        default=(), strict=False, description="Ids of agents and sidecars that are running before this one starts."
    )
    requires_extra: Extra | None = Field(
        default=None, description="The optional extra without which the agent stays stopped and says how to get it."
    )
    port: Port | None = Field(
        default=None, description="Where the agent always listens; a free port at every start when absent."
    )
    metadata: dict[str, JsonValue] = Field(
        default_factory=dict, description="Anything that clients and people should know; the manager ignores it."
    )
    default_model: str | None = Field(
        default=None, min_length=1, max_length=200, description="The model that the agent says it uses."
    )
    env: Env = Field(
        default_factory=dict,
        description="Environment variables of the agent's process; a value may be env:NAME or file:PATH.",
    )
    instances: int = Field(
        default=1,
        ge=1,
        le=64,
        description="How many processes serve the agent at once; they share its port and its requests.",
    )
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What each process may use at most.")
    preload: Literal["auto", "light", "langgraph"] = Field(
        default="auto",
        description="What is imported before the agent's own code: auto takes light for a dummy, else langgraph.",
    )
    autostart: bool = Field(default=True, description="Whether the manager starts the agent with the fleet.")

    @field_validator("command")
    @classmethod
    def _command_names_a_program(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and not value[0].strip():
            raise ValueError("its first element must name an executable")
        return value

    @field_validator("entry_point")
    @classmethod
    def _entry_point_or_command(cls, value: str | None, info: ValidationInfo) -> str | None:
        has_command = bool(info.data.get("command"))
        if value is not None and has_command:
            raise ValueError("keep either entryPoint or command, not both")
        if value is None and not has_command:
            raise ValueError("leave it out for a dummy, or write 'package.module:attribute'")
        return value

    @field_validator("definition")
    @classmethod
    def _definition_belongs_to_react(
        cls, value: AgentDefinition | None, info: ValidationInfo
    ) -> AgentDefinition | None:
        # An entry point that is wrong in itself is told once.
        if "entry_point" in info.data and (value is not None) != (info.data["entry_point"] == REACT):
            raise ValueError("entryPoint 'react' needs a definition, and no other agent takes one")
        return value

    @field_validator("probe")
    @classmethod
    def _probe_belongs_to_a_command(cls, value: ProbeSettings | None, info: ValidationInfo) -> ProbeSettings | None:
        if value is not None and not info.data.get("command"):
            raise ValueError("only a command is probed: any other agent tells by itself how it is")
        return value

    @field_validator("instances")
    @classmethod
    def _instances_can_share_the_port(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("probe"):
            raise ValueError("a sidecar has one process at one address: use 1")
        if value > 1 and info.data.get("command") and info.data.get("port"):
            raise ValueError("a command binds its port by itself, so only one can have it: leave out port, or use 1")
        return value

    @property
    def is_sidecar(self) -> bool:
        """Whether its process is looked after, but does not speak the adapter API."""
        return self.probe is not None

    def spec(self) -> AgentSpec:
        """What the agent's adapter is told: everything but how its process is started and looked after."""
        return AgentSpec(**{name: getattr(self, name) for name in _TOLD})

    def to_public(self) -> dict[str, Any]:
        """The agent as in the file, defaults filled in: references as such, secrets hidden, what is unset left out."""
        public = self.model_dump(mode="json")
        public["env"] = {name: shown(name, value) for name, value in self.env.items()}
        if self.definition is not None:
            public["definition"] = public_definition(self.definition)
        return {key: value for key, value in public.items() if value is not None}


class ConfigDocument(StrictCamelModel):
    """The whole file."""

    model_config = ConfigDict(title="agent-manager: agents.config.json")

    schema_: str = Field(
        default="", alias="$schema", description="Where editors find the schema of this file; not read."
    )
    runtime: RuntimeSettings = Field(
        default_factory=RuntimeSettings,
        description="What the fleet runs with; AGENT_MANAGER_… environment variables override it.",
    )
    agents: tuple[AgentConfig, ...] = Field(
        default=(), strict=False, description="The agents, in the order in which they are listed."
    )
