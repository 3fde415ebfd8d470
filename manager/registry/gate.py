"""One agent's gate: which instance takes a request, who waits for one, and who is turned away."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from manager.clock import Clock
from manager.errors import ManagerError, NotReady, Overloaded, StateConflict
from manager.registry.instance import RegisteredInstance
from manager.registry.pace import Pace
from manager.registry.registry import Registry
from manager.registry.route import Admission, Route
from manager.registry.waiting_line import WaitingLine


class Lease:
    """A slot in one instance, held from the choice of the instance until `release`."""

    __slots__ = ("_gate", "_is_probe", "_is_released", "_taken_at", "instance", "queued_seconds")

    def __init__(self, gate: Gate, instance: RegisteredInstance, *, is_probe: bool, taken_at: float) -> None:
        self._gate = gate
        self._is_probe = is_probe
        self._is_released = False
        self._taken_at = taken_at
        self.instance = instance
        self.queued_seconds = 0.0
        """How long the request waited for its slot."""

    def release(self) -> None:
        """Give the slot back; whoever waits gets it at once. Doing it again is harmless."""
        if not self._is_released:
            self._is_released = True
            self._gate.released(self.instance, self._taken_at)

    def answered(self) -> None:
        """The instance answered, whatever the status."""
        self._gate.answered(self.instance)

    def no_answer(self) -> None:
        """The instance failed to answer: refused, reset, malformed, or no first byte in time."""
        self._gate.no_answer(self.instance, is_probe=self._is_probe)


class Ticket:
    """One request that waits."""

    __slots__ = ("client", "lease", "timer")

    def __init__(self, client: str) -> None:
        self.client = client
        self.lease: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, outcome: Lease | ManagerError) -> bool:
        """End the wait; False when nobody waits any more."""
        if self.timer is not None:
            self.timer.cancel()
        if self.lease.done():
            return False
        if isinstance(outcome, Lease):
            self.lease.set_result(outcome)
        else:
            self.lease.set_exception(outcome)
        return True


@dataclass
class OpenRequests:
    """Requests to all agents that hold a slot or wait for one, and how many there may be."""

    limit: int
    count: int = 0


class Gate:
    """Kept current by `set_route` and `refresh`. While somebody waits, no slot is free."""

    def __init__(self, agent_id: str, route: Route, registry: Registry, clock: Clock, total: OpenRequests) -> None:
        self._agent_id = agent_id
        self._registry = registry
        self._clock = clock
        self._total = total
        self._line: WaitingLine[Ticket] = WaitingLine()
        self._pace = Pace()
        self._ready: list[RegisteredInstance] = []
        self._is_away = False
        self.route = route
        self.refresh()

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._line)

    def set_route(self, route: Route) -> None:
        """Supervision has something new to say."""
        self.route = route
        self.refresh()

    def close(self, reason: ManagerError) -> None:
        """The agent is gone: nobody needs to wait any longer."""
        while self._line:
            self._line.next().settle(reason)

    def take(self) -> Lease | None:
        """A slot where one is free and nobody was there before; never waits.

        Raises `StateConflict` (paused, stopping) or `NotReady` (down, or nothing there that answers).
        """
        if not self._line and (lease := self._free_slot()) is not None:
            return lease
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        return None

    def visit(self, instance_id: str) -> Lease | None:
        """A place in this very instance, for what is no new work; None where it is not registered."""
        instance = self._registry.get(instance_id)
        if instance is None or instance.agent_id != self._agent_id:
            return None
        instance.forwarding += 1
        self._total.count += 1
        return Lease(self, instance, is_probe=False, taken_at=self._clock.monotonic())

    async def wait(self, client: str) -> Lease:
        """A slot as soon as it is this client's turn.

        For an agent that is away at most `queue_while_restarting_seconds`, for a busy one as long as the caller likes.
        Raises what `take` raises, or `Overloaded` where the line is full.
        """
        self._require_room()
        arrived = self._clock.monotonic()
        ticket = Ticket(client)
        self._line.join(client, ticket)
        self._total.count += 1
        if self._is_away:
            self._set_timer(ticket)
        try:
            lease = await ticket.lease
        except asyncio.CancelledError:
            self._left(ticket)
            raise
        finally:
            self._total.count -= 1
        lease.queued_seconds = self._clock.monotonic() - arrived
        return lease

    def refresh(self) -> None:
        """Something has changed: routes, registrations, a slot."""
        is_open = self.route.admission is Admission.OPEN
        self._ready = [i for i in self._registry.of(self._agent_id) if i.routable] if is_open else []
        if self._is_away is not (not self._ready):
            self._is_away = not self._ready
            self._set_timers()
        self._serve()

    def released(self, instance: RegisteredInstance, taken_at: float) -> None:
        """A request has given its slot back."""
        instance.forwarding -= 1
        self._total.count -= 1
        self._pace.note(self._clock.monotonic() - taken_at)
        if self._line:
            self._serve()

    def answered(self, instance: RegisteredInstance) -> None:
        """An instance answered."""
        if instance.circuit.failures and instance.circuit.answered():
            self._registry.circuit_closed(instance)

    def no_answer(self, instance: RegisteredInstance, *, is_probe: bool) -> None:
        """An instance failed to answer."""
        if instance.circuit.failed(self._clock.monotonic(), is_probe=is_probe):
            self._registry.circuit_opened(instance)

    def _free_slot(self) -> Lease | None:
        now = self._clock.monotonic()
        least, chosen = self.route.policy.max_concurrency, None
        for instance in self._ready:
            if instance.forwarding < least and instance.circuit.admits(now):
                least, chosen = instance.forwarding, instance
        if chosen is None:
            return None
        chosen.forwarding += 1
        self._total.count += 1
        return Lease(self, chosen, is_probe=chosen.circuit.probe(now), taken_at=now)

    def _serve(self) -> None:
        while self._line:
            refusal = self._refusal()
            if refusal is not None:
                self.close(refusal)
                return
            lease = self._free_slot()
            if lease is None:
                return
            self._hand_over(lease)

    def _hand_over(self, lease: Lease) -> None:
        while self._line:
            if self._line.next().settle(lease):
                return
        lease.release()

    def _refusal(self) -> ManagerError | None:
        """Why it is of no use to wait; None where it is."""
        route = self.route
        if route.admission is Admission.REFUSED:
            return StateConflict(route.detail, agent_id=self._agent_id, state=route.state)
        if route.admission is Admission.DOWN:
            return self._not_ready()
        now = self._clock.monotonic()
        if not self._ready or any(instance.circuit.admits(now) for instance in self._ready):
            return None
        seconds = math.ceil(min(i.circuit.retry_at or now for i in self._ready) - now)
        return NotReady(
            f"{self._agent_id} keeps failing to answer, so the manager sends it nothing for the moment (its circuit "
            f"is open); it is tried again in {seconds} s. Its log may say why: agent-manager logs {self._agent_id}.",
            agent_id=self._agent_id,
            state=route.state,
            retry_after_seconds=max(seconds, 1),
        )

    def _require_room(self) -> None:
        policy = self.route.policy
        # While the agent is away as many may wait as it would take on its return, and those who would wait then.
        room = policy.max_queue + (policy.max_concurrency if self._is_away else 0)
        if len(self._line) >= room:
            slots = policy.max_concurrency * max(len(self._ready), 1)
            seconds = self._pace.retry_after(len(self._line), slots)
            raise Overloaded(
                f"All {slots} slots (maxConcurrency) of {self._agent_id} and all places in its queue (maxQueue: "
                f"{policy.max_queue}) are taken; try again in {seconds} s, or raise these limits.",
                agent_id=self._agent_id,
                state=self.route.state,
                retry_after_seconds=seconds,
            )

    def _set_timers(self) -> None:
        for ticket in self._line:
            if self._is_away:
                self._set_timer(ticket)
            elif ticket.timer is not None:
                ticket.timer.cancel()

    def _set_timer(self, ticket: Ticket) -> None:
        patience = self.route.policy.queue_while_restarting_seconds
        ticket.timer = asyncio.get_running_loop().call_later(patience, self._give_up, ticket)

    def _give_up(self, ticket: Ticket) -> None:
        self._line.leave(ticket.client, ticket)
        ticket.settle(self._not_ready())

    def _left(self, ticket: Ticket) -> None:
        self._line.leave(ticket.client, ticket)
        if ticket.timer is not None:
            ticket.timer.cancel()
        # Its turn may have come in the same moment: the slot goes to the next one.
        if ticket.lease.done() and not ticket.lease.cancelled() and ticket.lease.exception() is None:
            ticket.lease.result().release()

    def _not_ready(self) -> NotReady:
        return NotReady(self.route.detail, agent_id=self._agent_id, state=self.route.state)
