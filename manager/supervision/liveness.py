"""Ends instances that are no longer alive in any sense that counts: never registered, or silent for too long.

A missing heartbeat means that the event loop which serves does not turn. First the process is asked for its stacks,
which it writes into its log; when it stays silent for as long again, it is ended and its restart policy decides.
"""

from __future__ import annotations

from manager.supervision.instance_set import InstanceSet
from manager.supervision.managed_instance import ManagedInstance
from manager.supervision.stack_dump import request_stacks
from manager.supervision.tools import Tools


class Liveness:
    """Looks at one agent's instances whenever its supervisor does. `dumps_stacks`: they are adapters of ours."""

    def __init__(self, instances: InstanceSet, tools: Tools, *, dumps_stacks: bool) -> None:
        self._set = instances
        self._tools = tools
        self._dumps_stacks = dumps_stacks
        self._asked: set[str] = set()

    def check(self, start_timeout_seconds: float) -> None:
        """Act on every deadline that has passed."""
        now = self._tools.clock.monotonic()
        for instance in self._set.all:
            if instance.stop is not None:
                continue
            if instance.silent_since is None:
                self._asked.discard(instance.instance_id)
                self._check_start(instance, start_timeout_seconds, now)
            elif instance.sidecar_url is None:
                # Of a sidecar its probe says when it has been silent for too long.
                self._check_silence(instance, instance.silent_since, now)

    def deadlines(self, start_timeout_seconds: float) -> list[float]:
        """When to look again, in monotonic seconds."""
        found = []
        for instance in self._set.all:
            if instance.stop is not None:
                continue
            if instance.silent_since is not None and instance.sidecar_url is None:
                found.append(instance.silent_since + self._tools.silence_limit_seconds)
            elif not instance.registered:
                found.append(instance.expected_since + start_timeout_seconds)
        return found

    def _check_start(self, instance: ManagedInstance, limit: float, now: float) -> None:
        if not instance.registered and now >= instance.expected_since + limit:
            missed = "register" if instance.sidecar_url is None else "answer its probe"
            instance.failure = f"did not {missed} within {limit:g} s and was ended"
            self._set.stop(instance, 0.0, instance.failure)

    def _check_silence(self, instance: ManagedInstance, since: float, now: float) -> None:
        if instance.instance_id not in self._asked:
            self._asked.add(instance.instance_id)
            if self._dumps_stacks:
                request_stacks(instance, self._tools.announce_stacks)
        limit = self._tools.silence_limit_seconds
        if now >= since + limit:
            self._set.kill(instance, f"did not answer for {2 * limit:g} s and was killed", failure=True)
