"""Admission and the tasks in flight: at most `max_concurrency` run, at most `max_queue` wait, first come first served.

A task's answer and a task's end are two things: a cancelled task is answered at once, but it keeps its slot and
its place in `in_flight` until its code has really ended, which a thread may not do for long.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from agent_service.contract import AdapterStatus, AgentSpec, CurrentTask, StatusReport
from agent_service.encoding import encode
from agent_service.errors import AgentFailed, NotReady, Overloaded, Refusal, ResultNotJson, StateConflict
from agent_service.lifecycle import Lifecycle, utc_now
from agent_service.metrics import Metrics, Outcome

log = structlog.stdlib.get_logger(__name__)

Work = Callable[[], Awaitable[object]]
TASK_NAME = "agent task"
"""What the name of each asyncio task begins with that is the life of one of the agent's tasks."""


@dataclass(frozen=True)
class Answer:
    """A finished task: its result as JSON, and how long it ran."""

    result: bytes
    duration_ms: float


class Job:
    """One accepted task. `started` is set when it gets its slot; `answer` resolves to an `Answer` or a `Refusal`."""

    def __init__(self, task_id: str, monotonic: Callable[[], float]) -> None:
        self.task_id = task_id
        self.started = asyncio.Event()
        self.started_at: datetime | None = None
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.outcome = Outcome.CANCELLED
        self.error: BaseException | None = None
        self._monotonic = monotonic
        self._start: float | None = None
        self._task: asyncio.Task[None] | None = None

    def attach(self, task: asyncio.Task[None]) -> None:
        """Tell the job which asyncio task is its life."""
        self._task = task

    def start(self, now: datetime) -> None:
        """The job has its slot."""
        self.started_at = now
        self._start = self._monotonic()
        self.started.set()

    @property
    def running_seconds(self) -> float | None:
        """How long it has run; None while it waits."""
        return None if self._start is None else self._monotonic() - self._start

    def succeed(self, result: bytes) -> None:
        """Answer with a result, unless a cancellation was faster."""
        if not self.answer.done():
            self.outcome = Outcome.SUCCEEDED
            self.answer.set_result(Answer(result, round((self.running_seconds or 0.0) * 1000, 3)))

    def fail(self, error: BaseException) -> None:
        """Answer that the agent's code raised `error`, unless a cancellation was faster.

        A runtime may refuse by itself: what is wrong with the parameters is no failure of the agent.
        """
        if self.answer.done():
            return
        if isinstance(error, Refusal) and error.status < 500:
            self.outcome = Outcome.REJECTED
        else:
            self.outcome, self.error = Outcome.FAILED, error
        self._refuse(error if isinstance(error, Refusal) else agent_failure(error))

    def cancel(self, reason: Refusal) -> None:
        """Answer with `reason` at once and ask the code to end."""
        if not self.answer.done():
            self._refuse(reason)
        if self._task is not None:
            self._task.cancel()

    def _refuse(self, refusal: Refusal) -> None:
        self.answer.set_exception(refusal)
        # Nobody may be left to read it; asyncio is not to complain about that.
        self.answer.exception()


def agent_failure(error: BaseException) -> AgentFailed:
    """What the client learns of an exception in the agent's code: its type and its message."""
    if isinstance(error, ResultNotJson):
        return AgentFailed(str(error))
    return AgentFailed(
        f"The agent's own code failed: {type(error).__name__}: {error}. Its log has the traceback under this task's id."
    )


class Tasks:
    """Takes tasks while the lifecycle allows, runs them and counts them."""

    def __init__(
        self,
        spec: AgentSpec,
        lifecycle: Lifecycle,
        *,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = spec.max_concurrency
        self._capacity = spec.max_concurrency + spec.max_queue
        self._slots = asyncio.Semaphore(spec.max_concurrency)
        self._lifecycle = lifecycle
        self._now = now
        self._monotonic = monotonic
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, Job] = {}
        self._total = 0
        self._failed = 0
        self.metrics = Metrics(running=lambda: len(self._running), queued=lambda: self.queued)

    @property
    def busy(self) -> bool:
        """Some accepted task has not ended."""
        return bool(self._jobs)

    @property
    def queued(self) -> int:
        """Accepted tasks that wait for a slot."""
        return len(self._jobs) - len(self._running)

    def ages(self) -> dict[str, float]:
        """For how many seconds each task has run that runs now, by its id."""
        return {job.task_id: job.running_seconds or 0.0 for job in self._running.values()}

    def report(self) -> StatusReport:
        """The status of the adapter and its tasks, as /status and the heartbeat tell it."""
        oldest = next(iter(self._running.values()), None)
        current = None
        if oldest is not None and oldest.started_at is not None:
            current = CurrentTask(task_id=oldest.task_id, started_at=oldest.started_at)
        return StatusReport(
            status=self._lifecycle.status,
            current_task=current,
            in_flight=len(self._running),
            queued=self.queued,
            tasks_total=self._total,
            tasks_failed=self._failed,
            drain_deadline=self._lifecycle.drain_deadline,
        )

    def check_open(self, *, is_public: bool = False) -> None:
        """Raise `StateConflict` or `NotReady` when no work is taken now.

        `is_public`: the work comes by the port that is about to be left to others, and is still taken meanwhile.
        """
        try:
            self._require_open(is_public)
        except Refusal:
            self.metrics.rejected()
            raise

    def submit(self, work: Work, *, is_public: bool = False) -> Job:
        """Take a task and start it as soon as a slot is free. Raises `StateConflict`, `NotReady`, `Overloaded`."""
        try:
            self._require_open(is_public)
            self._require_room()
        except Refusal:
            self.metrics.rejected()
            raise
        job = Job(uuid.uuid4().hex, self._monotonic)
        self._jobs[job.task_id] = job
        life = asyncio.create_task(self._live(job, work), name=f"{TASK_NAME} {job.task_id}")
        job.attach(life)
        life.add_done_callback(partial(self._ended, job))
        return job

    def cancel_all(self, reason: Refusal) -> list[Job]:
        """Cancel whatever has not ended; the cancelled jobs."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel(reason)
        return jobs

    def _require_open(self, is_public: bool) -> None:
        if self._lifecycle.stopping and not (is_public and self._lifecycle.handing_over):
            raise StateConflict("The agent is stopping and takes no new work; try again once it has been started anew.")
        if self._lifecycle.status is AdapterStatus.PAUSED:
            raise StateConflict("The agent is paused and takes no new work; resume it, then try again.")
        if not self._lifecycle.ready:
            raise NotReady("The agent is still starting; try again in a moment.")

    def _require_room(self) -> None:
        if len(self._jobs) >= self._capacity:
            raise Overloaded(
                f"All {self._limit} slots (maxConcurrency) and all {self._capacity - self._limit} places in the queue "
                "(maxQueue) are taken; try again later or raise these limits."
            )

    async def _live(self, job: Job, work: Work) -> None:
        structlog.contextvars.bind_contextvars(task_id=job.task_id)
        async with self._slots:
            self._running[job.task_id] = job
            job.start(self._now())
            await self._perform(job, work)

    async def _perform(self, job: Job, work: Work) -> None:
        try:
            job.succeed(encode(await work()))
        except asyncio.CancelledError as error:
            # A cancellation that nobody asked for came out of the agent's own code.
            job.fail(error)
        except BaseException as error:  # noqa: BLE001 - the outermost loop of a task: SystemExit ends it, not the process
            job.fail(error)

    def _ended(self, job: Job, life: asyncio.Task[None]) -> None:
        del self._jobs[job.task_id]
        self._running.pop(job.task_id, None)
        if not life.cancelled() and (bug := life.exception()) is not None:
            job.fail(bug)
        self._total += 1
        self._failed += job.outcome is Outcome.FAILED
        seconds = job.running_seconds
        self.metrics.finished(job.outcome, seconds)
        self._log(job, seconds)
        if self._lifecycle.stopping:
            self._lifecycle.activity.announce()

    def _log(self, job: Job, seconds: float | None) -> None:
        duration_ms = None if seconds is None else round(seconds * 1000, 3)
        fields = {"task_id": job.task_id, "outcome": job.outcome.value, "duration_ms": duration_ms}
        if job.error is None:
            log.info("Task finished", **fields)
        else:
            error = f"{type(job.error).__name__}: {job.error}"
            # A refusal says all that there is to say.
            trace = None if isinstance(job.error, Refusal) else job.error
            log.error("Task finished", **fields, error=error, exc_info=trace)
