"""One task of PiAPI's task API: created, then polled until it has ended, on any host that answers.

A task belongs to the key that made it, not to a host: all hosts of an upstream know it. So a poll that fails is
repeated at the next host, and no failure between two answers ends the work. The driver, which knows the deadline,
decides when to give up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from gateway.core.errors import TransportError
from gateway.core.json_weight import too_heavy
from gateway.core.outcomes.classify import AnswerSource, classify_answer, read_success
from gateway.core.outcomes.shown_words import sanitise
from gateway.core.pricing.prices import image_stake
from gateway.core.types import NANO_PER_USD, CostClass, Endpoint, Outcome, Phase, Target
from gateway.translate.commands import Command, Result, Send, Sleep, Stalled, receive_body
from gateway.translate.context import AttemptContext
from gateway.translate.poll_rhythm import intervals
from gateway.translate.presenting import Emitting
from gateway.translate.whole_answers import judged_leniently
from gateway.wire.answer_head import Head
from gateway.wire.nesting import too_deep
from gateway.wire.task_answer import TaskState, is_task, parse_task

TASK_PATH = "/api/v1/task"
TASK_KEY_HEADER = b"x-api-key"

TASK_ANSWER_LIMIT = 64 << 20
TASK_ERROR_LIMIT = 1 << 20
"""Bytes of an answer, of a success (``TASK_ANSWER_LIMIT``) and of an error. Results may be base64: four images of a
megapixel have less than 24 MB even without any compression, one of 2880 × 2880 pixels, the largest there is, 45 MB."""

READ_WITHIN = 30.0
"""Seconds a poll may take; a slower host is treated like one that is down."""

SPREAD = 0.2
"""The share by which chance may change the time between two polls."""

LONGEST_ASKED = 60.0
"""Seconds: the longest Retry-After that is obeyed, since the work is paid for and may be done long before."""

MOST_TIMES_THE_PRICE = 20
"""How many times its known price a task may state as its cost: the most expensive settings of a Flux task cost several
times the cheapest, and a cost beyond this is a mistake."""

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)

_REFUSED = re.compile(
    r"moderat(?:ion|ed)|nsfw|content[ _-]?polic(?:y|ies)|(?<!case[ _-])\bsensitive|敏感|违规|审核", re.I
)
_LIMITED = re.compile(r"too[ _]many[ _]requests|rate[ _-]?limit", re.I)
"""The failures that are told apart by their message, since ``error.code`` is 10000 for nearly all of them."""


@dataclass(frozen=True, slots=True)
class CreatedTask:
    """A task that exists.

    ``task_id``: fit for a path; empty where the answer had the images at once and no id.
    ``state``: as the creation's answer has it, perhaps already final.
    ``status``, ``body``, ``document``: the upstream's answer as it came, and its JSON.
    """

    task_id: str
    state: TaskState
    status: int
    body: bytes
    document: dict[str, Any]


class TaskPolling:
    """The dialogue with one upstream about one task.

    ``jitter``: a number in [0, 1), a new one each time.
    ``wakeup``: the name under which a wait may be ended early; None if it cannot be.
    ``results``: where in the task its images are, beside the usual places (``parse_task``).
    """

    def __init__(
        self,
        context: AttemptContext,
        *,
        jitter: Callable[[], float],
        wakeup: str | None = None,
        results: Sequence[str] = (),
    ) -> None:
        self._results = results
        self._context = context
        self._jitter = jitter
        self._wakeup = wakeup

    def create(self, body: bytes, path: str = TASK_PATH) -> Generator[Command, Result, CreatedTask | Outcome]:
        """Buy a task at ``path``. An Outcome says why there is none.

        A success without a usable id, and without images, is ``task_unknown``: a task may run that cannot be found.
        """
        head = yield Send("POST", path, body, key_header=TASK_KEY_HEADER)
        assert isinstance(head, Head)
        answer = yield from receive_all(head)
        outcome, document = self._judge(head, answer, self._context.endpoint)
        if not outcome.ok:
            return outcome
        try:
            state = parse_task(document, self._results)
        except ValueError as error:
            return Outcome("task_unknown", Phase.UNKNOWN, head.status, detail=f"no task in the answer: {error}")
        if not is_task_id(state.task_id) and not state.images:
            return Outcome("task_unknown", Phase.UNKNOWN, head.status, detail="no usable task id in the answer")
        return CreatedTask(state.task_id, state, head.status, answer, document)

    def until_ended(
        self, task_id: str, tell: Callable[[], Emitting], *, at_once: bool = False
    ) -> Generator[Command, Result, TaskState]:
        """Poll ``task_id`` until it is done or has failed.

        ``tell``: what is emitted before every poll. ``at_once``: the first poll comes without a wait.

        How long it waits before each: ``poll_rhythm.py``. A host that limits the rate is not polled for twice the
        wait, or for as long as it asked.
        """
        expected = None if at_once else self._context.expected  # it has run for longer than is known here
        rhythm = intervals(self._context.target.upstream.tasks, expected)
        hosts = cycle(self._hosts())
        host = next(hosts)
        wait = 0.0 if at_once else self._spread(next(rhythm))
        while True:
            if wait:
                yield Sleep(wait, self._wakeup)
            yield from tell()
            answer = yield from self._ask(task_id, host)
            interval = next(rhythm)
            wait = self._spread(interval)
            if isinstance(answer, TaskState):
                if answer.status != "running":
                    return answer
                continue
            host = next(hosts)
            if answer.slug == "rate_limited":
                wait = self._spread(2 * interval)
            if answer.retry_after is not None:
                wait = max(wait, min(answer.retry_after, LONGEST_ASKED))

    def _ask(self, task_id: str, host: Endpoint) -> Generator[Command, Result, TaskState | Outcome]:
        """Poll once. The Outcome of a poll that failed only says how to go on."""
        try:
            head = yield Send(
                "GET", task_path(task_id), key_header=TASK_KEY_HEADER, endpoint=host, within=READ_WITHIN, free=True
            )
            assert isinstance(head, Head)
            answer = yield from receive_all(head)
        except TransportError as error:
            return Outcome(error.slug, error.phase, detail=error.detail)
        except Stalled as stall:
            return Outcome(f"stall_{stall.awaiting}", Phase.UNKNOWN, detail=str(stall))
        outcome, document = self._judge(head, answer, host)
        if not outcome.ok:
            return outcome
        try:
            state = parse_task(document, self._results)
        except ValueError as error:
            return Outcome("bad_json", Phase.UNKNOWN, head.status, detail=f"no task in the answer: {error}")
        if state.task_id not in ("", task_id):
            return Outcome("bad_json", Phase.UNKNOWN, head.status, detail="the answer is about another task")
        return state

    def _judge(self, head: Head, answer: bytes, host: Endpoint) -> tuple[Outcome, dict[str, Any]]:
        return judge(head, answer, self._context, self._context.source(host, CostClass.PAID))

    def _hosts(self) -> tuple[Endpoint, ...]:
        """The upstream's hosts, beginning with the one that created the task."""
        first = self._context.endpoint
        return (first, *(host for host in self._context.target.upstream.endpoints if host != first))

    def _spread(self, seconds: float) -> float:
        return seconds * (1 - SPREAD + 2 * SPREAD * self._jitter())


def is_task_id(value: str) -> bool:
    """Whether ``value`` may be part of a path: ids come from upstreams, and from clients."""
    return _TASK_ID.fullmatch(value) is not None


def task_path(task_id: str) -> str:
    """The path at which a task is read. Raises ValueError for an invalid id."""
    if not is_task_id(task_id):
        raise ValueError("a task id has 1 to 128 letters, digits, '-' and '_'")
    return f"{TASK_PATH}/{task_id}"


def receive_all(head: Head) -> Generator[Command, Result, bytes]:
    """The body of an answer, cut off a little beyond the limit; ``judge`` handles one that is too long."""
    limit = TASK_ANSWER_LIMIT if 200 <= head.status < 300 else TASK_ERROR_LIMIT
    return (yield from receive_body(limit))


def judge(head: Head, body: bytes, context: AttemptContext, source: AnswerSource) -> tuple[Outcome, dict[str, Any]]:
    """The outcome of a whole answer of ``source`` (core/outcomes/classify.py), without secrets it may repeat.

    Also returns the document of a success, empty if it holds none that may be read and written again.
    """
    if 200 <= head.status < 300:
        if len(body) > TASK_ANSWER_LIMIT:
            return _unfit(head, f"an answer of more than {TASK_ANSWER_LIMIT} bytes"), {}
        if too_heavy(body):
            return _unfit(head, "an answer of too many members"), {}
        outcome, document, body = judged_leniently(
            body, lambda text: read_success(head.status, head, text, redact=context.redact, operation=source.operation)
        )
        if not outcome.ok and is_task(document):
            outcome = Outcome("ok", Phase.ANSWERED, head.status)  # a task without an envelope has an ``error`` always
        if document and too_deep(body):
            return _unfit(head, "an answer nested too deeply"), {}
        return outcome, document
    outcome = classify_answer(
        head.status,
        head,
        body,
        source,
        wall_seconds=context.wall_seconds,
        redact=context.redact,
    )
    return outcome, {}


def _unfit(head: Head, why: str) -> Outcome:
    return Outcome("bad_json", Phase.UNKNOWN, head.status, detail=why)


def failure_words(state: TaskState, context: AttemptContext) -> str | None:
    """Why a task failed, as a client may read it; None if nothing may be shown."""
    return None if state.error is None else sanitise(context.redacted(state.error))


def failed_task(state: TaskState, context: AttemptContext) -> Outcome:
    """The outcome of a failed task. PiAPI does not charge for these, so nothing was bought.

    The task's error message goes to the client only: it may quote the prompt, which must not be in the log. An operator
    can read it by the task's id.
    """
    message = failure_words(state, context)
    said = state.error or ""
    slug = "content_policy" if _REFUSED.search(said) else "rate_limited" if _LIMITED.search(said) else "task_failed"
    detail = "the task failed" if message else "the task failed and did not say why"
    return Outcome(slug, Phase.REJECTED, 200, message=message, detail=detail)


def empty_task(state: TaskState, context: AttemptContext) -> Outcome:
    """The outcome of a task that is done and has no image."""
    detail = "the task is done without an image"
    return Outcome("empty_response", Phase.ANSWERED, 200, message=failure_words(state, context), detail=detail)


def stated_cost(points: int | None, points_per_usd: int, target: Target, images: int) -> int | None:
    """Nano-dollars of a finished task, rounded half up; None where the upstream stated no plausible cost, so that the
    price is used.

    ``points``: ``meta.usage.consume``. Tasks that are not billed by points have zero, so it says nothing.
    ``images``: how many were asked for; a known price for them bounds what is believed.
    """
    if points is None or points <= 0:
        return None
    cost = (2 * points * NANO_PER_USD + points_per_usd) // (2 * points_per_usd)
    price = image_stake(target.price, max(images, 1), operation=target.operation, quality=None, size=None)
    return None if price and cost > MOST_TIMES_THE_PRICE * price else cost
