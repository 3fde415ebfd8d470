"""Every error that the adapter raises on purpose.

`problems.py` turns the refusals into HTTP, `__main__.py` the rest into exit statuses.
"""

from __future__ import annotations


class AdapterError(Exception):
    """Root of the tree. The message is a sentence that tells the reader what to do."""


class ConfigError(AdapterError):
    """The adapter cannot start as it was told to; a person must change something. Exit status `EXIT_CONFIG`."""


class EntryPointError(ConfigError):
    """The entry point cannot be imported, or is nothing that can be run."""


class PortInUse(AdapterError):
    """Another process holds the port. Exit status `EXIT_PORT_IN_USE`."""


class ResultNotJson(AdapterError):
    """What the agent returned or yielded has no JSON form."""


class Refusal(AdapterError):
    """A request that gets a problem document instead of an answer."""

    status = 500
    retry_after_seconds: int | None = None


class BadRequest(Refusal):
    """The request is malformed."""

    status = 400


class TokenRequired(Refusal):
    """The token is missing or wrong."""

    status = 401


class ForeignOrigin(Refusal):
    """A page of another site sent the request."""

    status = 403


class NoSuchThread(Refusal):
    """The agent remembers no such conversation."""

    status = 404


class UnknownCall(Refusal):
    """No call of that name is known."""

    status = 404


class StateConflict(Refusal):
    """The lifecycle does not allow this now."""

    status = 409


class AnswerGone(Refusal):
    """The call was run, and its answer cannot be told once more."""

    status = 410


class BodyTooLarge(Refusal):
    """The body is over the limit."""

    status = 413


class WrongHost(Refusal):
    """The Host header names somebody else."""

    status = 421


class Overloaded(Refusal):
    """All slots and all places in the queue are taken."""

    status = 429
    retry_after_seconds = 1


class AgentFailed(Refusal):
    """The agent's own code raised."""

    status = 500


class LogUnreadable(Refusal):
    """The log file cannot be read."""

    status = 500


class NotReady(Refusal):
    """The runtime is still opening."""

    status = 503
    retry_after_seconds = 1


class TaskCancelled(Refusal):
    """The task was cancelled before it had an answer."""

    status = 503
