"""The conversations for PiAPI's own task API: ``POST /api/v1/task`` and ``GET /api/v1/task/{id}`` on either side.

The upstream's JSON reaches the client as it came, except for the gateway's own data in it: secrets, and the address at
which PiAPI reports a task's end to the gateway (``webhook_config``). A created task is polled to its end after the
client has its answer, since only the last state says what the task cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway.core.json_weight import read_json
from gateway.core.types import CostClass, Outcome, Phase, Usage
from gateway.translate.commands import ConversationState, Conversing, Record, Respond, Send
from gateway.translate.context import AttemptContext
from gateway.translate.presenting import Emitting
from gateway.translate.task_polling import (
    READ_WITHIN,
    TASK_KEY_HEADER,
    TaskPolling,
    failure_words,
    judge,
    receive_all,
    stated_cost,
    task_path,
)
from gateway.wire.answer_head import Head
from gateway.wire.nesting import too_deep

_OF_THE_TASK = frozenset({"ok", "model_missing", "rejected", "conflict", "content_policy", "soft_error"})
"""Outcomes of a read that are about the task. All others are about the gateway's key, the host or the connection."""


class TaskRelay(ConversationState):
    """One attempt at creating a client's own task.

    ``body``: the client's JSON, checked.
    ``images``: how many it asks for, 0 where the model makes none.
    ``points_per_usd``: of the upstream's own billing.
    ``jitter``: a number in [0, 1), a new one each time.

    Once ``Respond`` was yielded the client has its answer: a later outcome is for the ledger alone.
    """

    def __init__(
        self,
        body: bytes,
        context: AttemptContext,
        *,
        images: int,
        points_per_usd: int,
        jitter: Callable[[], float],
    ) -> None:
        self._body = body
        self._context = context
        self._images = images
        self._points_per_usd = points_per_usd
        self._polling = TaskPolling(context, jitter=jitter)
        self.images = 0

    @property
    def delivered(self) -> int:
        """The images that were made: the client fetches them from PiAPI."""
        return self.images

    def estimate(self) -> Usage:
        """The images asked for."""
        return Usage(images=self._images, confidence="estimated")

    def converse(self) -> Conversing:
        """Create the task, answer the client, poll until the task has ended."""
        created = yield from self._polling.create(self._body)
        if isinstance(created, Outcome):
            return created
        if created.task_id:
            self.task_id = created.task_id
            yield Record(created.task_id)
        self.progress += 1
        yield Respond(created.status, _for_client(created.body, created.document, self._context))
        state = created.state
        if state.status == "running":
            state = yield from self._polling.until_ended(created.task_id, _nothing)
        if state.status == "failed":
            message = failure_words(state, self._context)
            # The message may quote the prompt, so it is not logged; it can be read by the task's id.
            return Outcome("task_failed", Phase.REJECTED, 200, message=message, detail="the task failed")
        self.stated_cost = stated_cost(state.points, self._points_per_usd, self._context.target, self._images)
        self.images = min(len(state.images), self._images)
        return Outcome("ok", Phase.FORWARDED, created.status)


class TaskRead(ConversationState):
    """One attempt at reading a task. It costs nothing, so any host may be asked.

    Raises ValueError if ``task_id`` is invalid.
    """

    def __init__(self, task_id: str, context: AttemptContext) -> None:
        self._path = task_path(task_id)
        self._context = context
        self.images = 0
        self.task_id = task_id

    @property
    def delivered(self) -> int:
        """The images that were made: the client fetches them from PiAPI."""
        return self.images

    def estimate(self) -> Usage:
        """Nothing: reading is free."""
        return Usage()

    def converse(self) -> Conversing:
        """Ask once. The upstream's answer about the task goes to the client, refusals included."""
        head = yield Send("GET", self._path, key_header=TASK_KEY_HEADER, within=READ_WITHIN, free=True)
        assert isinstance(head, Head)
        body = yield from receive_all(head)
        context = self._context
        outcome, document = judge(head, body, context, context.source(cost_class=CostClass.READ))
        answer = document or _error_document(body)
        if outcome.slug in _OF_THE_TASK and answer:
            self.progress += 1
            yield Respond(head.status, _for_client(body, answer, context))
            return Outcome("ok", Phase.FORWARDED, head.status)
        return outcome


def _for_client(body: bytes, document: dict[str, Any], context: AttemptContext) -> bytes:
    """The upstream's answer without the gateway's own data.

    ``document``: its JSON.

    JSON with escapes is written anew, since a search would miss a name or a secret spelt with them.
    """
    if b"webhook_config" in body or b"\\" in body:
        body = orjson.dumps(_without_webhooks(document))
    return (context.redact_document or context.redact)(body)


def _without_webhooks(value: Any) -> Any:
    """A copy without any ``webhook_config``. ``value`` is nested no more deeply than wire/nesting.py allows."""
    if isinstance(value, dict):
        return {name: _without_webhooks(inner) for name, inner in value.items() if name != "webhook_config"}
    return [_without_webhooks(inner) for inner in value] if isinstance(value, list) else value


def _error_document(body: bytes) -> dict[str, Any]:
    """The JSON object of an error's answer; empty if there is none that may be written again."""
    if too_deep(body):
        return {}
    try:
        document = read_json(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _nothing() -> Emitting:
    """Emit nothing, to a client that has its answer."""
    yield from ()
