"""The manager's exception tree. Which of them becomes which HTTP answer is said in `manager.api.problem` alone.

Each message is a sentence that tells its reader what to do.
"""

from __future__ import annotations

from agent_service.issues import ConfigIssue as ConfigIssue
from agent_service.plurals import count_text


class ManagerError(Exception):
    """Base of all that the manager raises on purpose."""

    def __init__(self, detail: str, *, agent_id: str | None = None, state: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.agent_id = agent_id
        self.state = state


class ConfigError(ManagerError):
    """The config cannot be used; `issues` holds everything that is wrong with it, at once."""

    def __init__(self, source: str, issues: list[ConfigIssue]) -> None:
        lines = "\n".join(f"  {issue}" for issue in issues)
        super().__init__(f"{source} has {count_text(len(issues), 'error')}; nothing was started:\n{lines}")
        self.source = source
        self.issues = issues


class BadRequest(ManagerError):
    """The request cannot be understood."""


class Unauthorized(ManagerError):
    """The token is missing or wrong."""


class Forbidden(ManagerError):
    """The request comes from somewhere it must not come from."""


class UnknownAgent(ManagerError):
    """No agent has this id."""


class UnknownWebhook(ManagerError):
    """The config has no webhook of this name."""


class UnknownInstance(ManagerError):
    """A heartbeat came from an instance that is not registered; it registers again."""


class StateConflict(ManagerError):
    """The agent's state does not allow this."""


class KeyReused(ManagerError):
    """An idempotency key came with another request than its first one."""


class PayloadTooLarge(ManagerError):
    """The body is over the limit."""


class NotReady(ManagerError):
    """No instance can take the request now; it may be tried again after `retry_after_seconds`."""

    def __init__(
        self, detail: str, *, agent_id: str | None = None, state: str | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(detail, agent_id=agent_id, state=state)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(ManagerError):
    """Every slot and every place in the queue is taken; it may be tried again after `retry_after_seconds`."""

    def __init__(
        self, detail: str, *, agent_id: str | None = None, state: str | None = None, retry_after_seconds: int = 1
    ) -> None:
        super().__init__(detail, agent_id=agent_id, state=state)
        self.retry_after_seconds = retry_after_seconds


class AdapterDied(ManagerError):
    """The adapter broke the connection before its answer was complete."""


class AdapterTimeout(ManagerError):
    """The adapter did not answer in time."""


class SpawnFailed(ManagerError):
    """The operating system refused to start the process."""


class StartImpossible(SpawnFailed):
    """And would refuse it again until a person mends something: the program is not there or may not be executed."""


class StoreUnavailable(ManagerError):
    """What must survive could not be written or read: disk full, file gone, permission lost."""


class StateDirectoryBusy(ManagerError):
    """Another manager holds the state directory."""
