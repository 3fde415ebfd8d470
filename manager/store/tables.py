"""The tables, as SQLAlchemy Core. Each change here is an Alembic migration under `migrations/versions`."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text, false

metadata = MetaData()

# What a person chose for an agent. An agent nobody touched has no row and follows its config.
desired_states = Table(
    "desired_states",
    metadata,
    Column("agent_id", String(63), primary_key=True),
    Column("desired_state", String(16), nullable=False),
    Column("instances", Integer),
    Column("reason", Text),
    Column("actor", Text, nullable=False),
    Column("changed_at", String(32), nullable=False),
)

# What a person set of an agent's traces. `managed`: the agent was one of the config.
tracing_overrides = Table(
    "tracing_overrides",
    metadata,
    Column("agent_id", String(63), primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("sample_rate", Float, nullable=False),
    Column("managed", Boolean, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", String(32), nullable=False),
)

# The lifecycle history. Times are RFC 3339 UTC strings with milliseconds, which sort as text.
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("agent_id", String(63)),
    Column("instance_id", String(128)),
    Column("reason", Text),
    Column("actor", Text),
    Column("data", JSON, nullable=False),
    Index("ix_events_agent_id_id", "agent_id", "id"),
    Index("ix_events_kind_id", "kind", "id"),
    Index("ix_events_at", "at"),
)

# The processes that run now, so that a manager that died finds its agents again.
instances = Table(
    "instances",
    metadata,
    Column("instance_id", String(128), primary_key=True),
    Column("agent_id", String(63), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_created_at", String(32), nullable=False),
    Column("boot_id", String(64), nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("service_url", Text),
    Column("log_offset", Integer, nullable=False),
    Column("restarts", Integer, nullable=False),
)

# Executes with an Idempotency-Key: under way, answered, or with an outcome that nobody can know.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("agent_id", String(63), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("instance_id", String(128)),
    Column("created_at", String(32), nullable=False),
    Column("status", Integer),
    Column("headers", JSON),
    Column("body", LargeBinary),
    Column("detail", Text),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

# Notifications that wait to be delivered, and what became of the newest others. `event_id` is null for a test. One that
# was `refused` waits by itself; any other holds up those after it.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("webhook", String(63), nullable=False),
    Column("event_id", Integer),
    Column("type", String(80), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("refused", Boolean, nullable=False, server_default=false()),
    Column("next_attempt_at", String(32)),
    Column("finished_at", String(32)),
    Column("status", Integer),
    Column("error", Text),
    Column("duration_ms", Float),
    Index("ix_webhook_deliveries_webhook_state_number", "webhook", "state", "number"),
    Index("ix_webhook_deliveries_webhook_event_id", "webhook", "event_id", unique=True),
    Index("ix_webhook_deliveries_created_at", "created_at"),
)
