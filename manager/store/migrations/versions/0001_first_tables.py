"""The first tables: desired states, events, instances."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "desired_states",
        sa.Column("agent_id", sa.String(63), primary_key=True),
        sa.Column("desired_state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.String(63)),
        sa.Column("instance_id", sa.String(128)),
        sa.Column("reason", sa.Text()),
        sa.Column("actor", sa.Text()),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    op.create_index("ix_events_agent_id_id", "events", ["agent_id", "id"])
    op.create_index("ix_events_at", "events", ["at"])
    op.create_table(
        "instances",
        sa.Column("instance_id", sa.String(128), primary_key=True),
        sa.Column("agent_id", sa.String(63), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_created_at", sa.String(32), nullable=False),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("started_at", sa.String(32), nullable=False),
        sa.Column("service_url", sa.Text()),
        sa.Column("log_offset", sa.Integer(), nullable=False),
        sa.Column("restarts", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("instances")
    op.drop_table("events")
    op.drop_table("desired_states")
