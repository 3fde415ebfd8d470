"""How many instances a person wants of an agent; none where the config says it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("desired_states") as table:
        table.add_column(sa.Column("instances", sa.Integer()))


def downgrade() -> None:
    with op.batch_alter_table("desired_states") as table:
        table.drop_column("instances")
