"""What the webhooks of a config refer to, looked up once so that a mistake is told before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from agent_service.issues import json_path
from agent_service.references import UnresolvedReference, resolve
from manager.errors import ConfigIssue
from manager.webhook_settings import WebhookSettings, checked_url, signing_key

_CHECKS: dict[str, Callable[[str], object]] = {"url": checked_url, "secret": signing_key}


def webhook_issues(
    webhooks: Sequence[WebhookSettings], environ: Mapping[str, str], base: Path
) -> Iterator[ConfigIssue]:
    """An issue for each reference that leads nowhere, or to something that is no address or no secret."""
    for index, webhook in enumerate(webhooks):
        for key, check in _CHECKS.items():
            written = str(getattr(webhook, key))
            path = json_path(json_path("runtime.webhooks", index), key)
            try:
                check(resolve(written, environ, base, whose="the manager's"))
            except UnresolvedReference as error:
                yield ConfigIssue(path, f"{error.found} (webhook {webhook.name!r})", error.remedy)
            except ValueError as error:
                found = f"'{written}', whose value cannot be used (webhook {webhook.name!r})"
                yield ConfigIssue(path, found, str(error))
