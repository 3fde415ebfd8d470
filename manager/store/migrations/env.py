"""Alembic's entry: runs the migrations over the connection that `manager.store.database` hands in."""

from __future__ import annotations

from alembic import context

from manager.store.tables import metadata

with context.begin_transaction() if context.is_offline_mode() else context.config.attributes["connection"].begin():
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
    )
    context.run_migrations()
