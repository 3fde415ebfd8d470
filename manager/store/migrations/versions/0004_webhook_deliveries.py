"""Notifications by webhook, and events found by their kind."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_events_kind_id", "events", ["kind", "id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("webhook", sa.String(63), nullable=False),
        sa.Column("event_id", sa.Integer()),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.String(32)),
        sa.Column("finished_at", sa.String(32)),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("duration_ms", sa.Float()),
    )
    index = "ix_webhook_deliveries_webhook_state_number"
    op.create_index(index, "webhook_deliveries", ["webhook", "state", "number"])
    op.create_index(
        "ix_webhook_deliveries_webhook_event_id", "webhook_deliveries", ["webhook", "event_id"], unique=True
    )
    op.create_index("ix_webhook_deliveries_created_at", "webhook_deliveries", ["created_at"])


def downgrade() -> None:
    op.drop_table("webhook_deliveries")
    op.drop_index("ix_events_kind_id", "events")
