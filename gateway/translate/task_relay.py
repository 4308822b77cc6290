"""PiAPI's own task API, passed on: ``POST /api/v1/task`` and ``GET /api/v1/task/{id}`` on either side.

The upstream's JSON reaches the client as it came. A create is followed to its end after the client has its answer, for
only the last state names what the task cost.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson

from gateway.core.types import CostClass, Endpoint, Outcome, Phase, Target, Usage
from gateway.translate.commands import Conversing, Head, Record, Respond, Send
from gateway.translate.presenting import Telling
from gateway.translate.task_polling import (
    KEY_HEADER,
    READ_WITHIN,
    TaskPolling,
    failure_words,
    judge,
    receive_all,
    stated_cost,
    task_path,
)

_OF_THE_TASK = frozenset({"ok", "model_missing", "rejected", "conflict", "content_policy", "soft_error"})
"""Answers to a read that are about the task. The others are about our key, the host or the way there."""


class TaskRelay:
    """One attempt at creating a client's own task.

    ``body``: the client's JSON, checked. ``pictures``: how many it asks for, 0 where the model makes none.
    ``wall_seconds``: Unix time at the start. ``redact`` strikes secrets out of an upstream's words.
    ``points_per_usd``: of the upstream's own billing. ``jitter``: a number in [0, 1), a new one each time.

    Once ``Respond`` was yielded the client has its answer: an outcome after that is for the books alone.
    """

    def __init__(
        self,
        body: bytes,
        target: Target,
        endpoint: Endpoint,
        *,
        pictures: int,
        wall_seconds: float,
        redact: Callable[[bytes], bytes],
        points_per_usd: int,
        jitter: Callable[[], float],
    ) -> None:
        self._body = body
        self._pictures = pictures
        self._redact = redact
        self._points_per_usd = points_per_usd
        self._polling = TaskPolling(target, endpoint, wall_seconds=wall_seconds, redact=redact, jitter=jitter)
        self.images = 0
        self.progress = 0
        self.usage: Usage | None = None
        self.answer: bytes | None = None
        self.quality: str | None = None
        self.size: str | None = None
        self.stated_cost: int | None = None
        self.task_id: str | None = None
        self.note: str | None = None

    def estimate(self) -> Usage:
        """The pictures asked for."""
        return Usage(images=self._pictures, confidence="estimated")

    def converse(self) -> Conversing:
        """Create, answer the client, ask until the task has ended."""
        created = yield from self._polling.create(self._body)
        if isinstance(created, Outcome):
            return created
        self.task_id = created.task_id
        yield Record(created.task_id)
        self.progress += 1
        yield Respond(created.status, created.body)
        state = created.state
        if state.status == "running":
            state = yield from self._polling.until_ended(created.task_id, _nothing)
        if state.status == "failed":
            message = failure_words(state, self._redact)
            return Outcome("task_failed", Phase.REJECTED, 200, message=message, detail=message or "the task failed")
        self.stated_cost = stated_cost(state.points, self._points_per_usd)
        self.images = len(state.pictures)
        return Outcome("ok", Phase.FORWARDED, created.status)


class TaskRead:
    """One attempt at reading a task. It costs nothing, so it may be asked of every host.

    Raises ValueError if ``task_id`` cannot be one. ``wall_seconds``, ``redact``: as ``TaskRelay`` has them.
    """

    def __init__(
        self,
        task_id: str,
        target: Target,
        endpoint: Endpoint,
        *,
        wall_seconds: float,
        redact: Callable[[bytes], bytes],
    ) -> None:
        self._path = task_path(task_id)
        self._target = target
        self._endpoint = endpoint
        self._wall_seconds = wall_seconds
        self._redact = redact
        self.images = 0
        self.progress = 0
        self.usage: Usage | None = None
        self.answer: bytes | None = None
        self.quality: str | None = None
        self.size: str | None = None
        self.stated_cost: int | None = None
        self.task_id: str | None = task_id
        self.note: str | None = None

    def estimate(self) -> Usage:
        """Nothing: reading is free."""
        return Usage()

    def converse(self) -> Conversing:
        """Ask once; what the upstream says of the task goes to the client unchanged, refusals included."""
        head = yield Send("GET", self._path, key_header=KEY_HEADER, within=READ_WITHIN, free=True)
        assert isinstance(head, Head)
        body = yield from receive_all(head)
        outcome = judge(
            head,
            body,
            self._target,
            self._endpoint,
            CostClass.READ,
            wall_seconds=self._wall_seconds,
            redact=self._redact,
        )
        if outcome.slug in _OF_THE_TASK and _is_object(body):
            self.progress += 1
            yield Respond(head.status, body)
            return Outcome("ok", Phase.FORWARDED, head.status)
        return outcome


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(orjson.loads(body), dict)
    except orjson.JSONDecodeError:
        return False


def _nothing() -> Telling:
    """A client that has its answer is told nothing more."""
    yield from ()
