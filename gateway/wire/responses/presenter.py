"""A chat's answer as a response: whole, or as the events of a stream. Pure: chunks in, bytes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.core.errors import GatewayError
from gateway.core.types import Usage
from gateway.wire.answer_cost import AnswerCost
from gateway.wire.chat_calls import BegunCall, Calls, FinalCall
from gateway.wire.chat_choices import choices_in, tidy_choices
from gateway.wire.chat_pieces import pieces_of, unsaid_of
from gateway.wire.responses.answer import (
    ResponseFacts,
    Status,
    citation,
    ending_of,
    error_object,
    left_off,
    picture_item,
    usage_object,
)
from gateway.wire.responses.compaction import sealed
from gateway.wire.responses.telling import ResponseTelling
from gateway.wire.sse import encode_event
from gateway.wire.usage_reading import tier_in
from gateway.wire.writable import dump_json

_OPENING = ("created", "in_progress")
QUEUED = ("created", "queued")
"""The first events of a response that is made in the background."""


def queued_events(facts: ResponseFacts) -> tuple[dict[str, Any], bytes]:
    """A response that waits for its turn, and the events that say so."""
    telling = ResponseTelling(facts)
    telling.state.status = "queued"
    for name in QUEUED:
        response = telling.response(name)
    return response, telling.due()


def last_event_of(response: Mapping[str, Any], number: int) -> bytes:
    """The event that says how a response ended, as the stream's event of this number."""
    return _event_of(str(response["status"]), response, number)


def told_in_short(response: Mapping[str, Any]) -> bytes:
    """The stream of a response whose events are not known: its first and its last one."""
    begun = {**response, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
    return _event_of("created", begun, 0) + last_event_of(response, 1)


def _event_of(name: str, response: Mapping[str, Any], number: int) -> bytes:
    name = f"response.{name}"
    data = dump_json({"type": name, "response": response, "sequence_number": number}, heavy=True)
    return encode_event(data, name.encode())


class ResponsePresenter:
    """The writer of one attempt's answer. Implements ``translate.translated_chat.Presenter``.

    ``ended``: is told of the response once it has ended, ahead of the client.
    ``streamed``: whether events are written. ``opening``: the first events. ``number``: of the first of them.
    """

    def __init__(
        self,
        facts: ResponseFacts,
        ended: Callable[[Mapping[str, Any]], None],
        *,
        streamed: bool,
        opening: tuple[str, ...] = _OPENING,
        number: int = 0,
    ) -> None:
        self._facts = facts
        self._ended = ended
        self._telling = ResponseTelling(facts, silent=not streamed, number=number)
        self._calls = Calls(facts.offered, f"call_{facts.id.removeprefix('resp_')}")
        self._opening = opening
        self._called: BegunCall | None = None
        self._ended_calls: set[str] = set()
        self._finish: str | None = None
        self._pictures: list[str] = []
        self._summary: list[str] = []
        self.thought = False
        """Whether the model's thoughts were told."""
        self.on_told: Callable[[], None] | None = None
        """Called once, with the first events."""
        self.orders: list[tuple[int, str]] = []
        """The calls of tools that this gateway carries out: the place of each one's item, and its arguments. As long
        as they are not carried out, the response has not ended: ``complete`` is due."""
        self.cost: AnswerCost | None = None
        self._status: Status = "completed"

    def chunk(self, chunk: dict[str, Any]) -> bytes:
        """Take a chunk. Returns the events that are due."""
        self._take_names(chunk)
        self._open()
        for choice in tidy_choices(choices_in(chunk), 1):
            if choice["index"] == 0:
                self._take(choice)
        return self._telling.due()

    def alive(self) -> bytes:
        """A comment."""
        return b": ping\n\n"

    def end(self, usage: Usage, cost: AnswerCost | None) -> bytes:
        """The events that end what is still open, and the response."""
        self._open()
        self._conclude(usage, cost)
        return self._telling.due()

    def failed(self, error: GatewayError) -> bytes:
        """``response.failed``, with what was said until then."""
        self._open()
        self._break_off()
        state = self._telling.state
        state.status, state.error = "failed", error_object(error)
        self._ended(self._telling.response("failed"))
        return self._telling.due()

    def cancelled(self) -> dict[str, Any]:
        """The response, of which no more will come since its client left."""
        self._break_off()
        self._telling.state.status = "cancelled"
        response = self._telling.now()
        return {**response, "output": left_off(response["output"])}

    def _break_off(self) -> None:
        open_calls = [] if self.orders else self._open_calls()  # with orders, the chat has ended
        self._telling.break_off([call for call in open_calls if call.begun is not None])

    def whole(self, completion: dict[str, Any], usage: Usage, cost: AnswerCost | None) -> bytes:
        """The response object."""
        self._take_names(completion)
        for choice in completion["choices"][:1]:
            self._take({**choice, "delta": choice.get("message"), "message": None}, whole=True)
        return dump_json(self._conclude(usage, cost), heavy=True)

    def partial_picture(self, place: int, fields: Mapping[str, Any]) -> bytes:
        """A picture as far as it has come."""
        self._telling.show_partial(place, fields)
        return self._telling.due()

    def picture(self, place: int, status: str, fields: Mapping[str, Any]) -> bytes:
        """A picture is made, or could not be."""
        self._telling.end_picture(place, status, fields)
        return self._telling.due()

    def complete(self, cost: AnswerCost | None, more: Mapping[str, Any]) -> bytes:
        """End a response whose orders have been carried out: its last event or, if it is not streamed, all of it.

        ``cost``: of all of it. ``more``: further fields of the response.
        """
        state = self._telling.state
        if cost is not None and state.usage is not None:
            state.usage = cost.in_usage(state.usage)
        state.status, state.more = self._status, dict(more)
        response = self._telling.response(state.status)
        self._ended(response)
        return self._telling.due() or dump_json(response, heavy=True)

    def so_far(self) -> dict[str, Any]:
        """The response as it stands, with what is being said."""
        return self._telling.so_far()

    def _open(self) -> None:
        opening, self._opening = self._opening, ()
        for name in opening:
            self._telling.response(name)
        if opening and self.on_told is not None:
            self.on_told()

    def _take_names(self, chunk: Mapping[str, Any]) -> None:
        state = self._telling.state
        if not state.model and isinstance(model := chunk.get("model"), str):
            state.model = model
        state.service_tier = tier_in(chunk) or state.service_tier

    def _take(self, choice: Mapping[str, Any], *, whole: bool = False) -> None:
        delta = choice.get("delta") or {}
        logprobs = choice.get("logprobs")
        probable = logprobs.get("content") if isinstance(logprobs, dict) else None
        self._take_delta(delta, probable if isinstance(probable, list) else [], whole=whole)
        if isinstance(message := choice.get("message"), dict):
            self._take_delta(unsaid_of(message, self._telling.text, beside=bool(delta.get("content"))), [], whole=True)
        self._finish = choice.get("finish_reason") or self._finish

    def _take_delta(self, delta: dict[str, Any], logprobs: list[Any], *, whole: bool) -> None:
        telling = self._telling
        for piece in pieces_of(delta):
            if piece.kind == "thought":
                self.thought = True
                telling.think(piece.text)
            elif piece.kind == "text" and self._facts.compacts:
                self._summary.append(piece.text)
            elif piece.kind == "text":
                telling.say(piece.text, logprobs)
                logprobs = []
            elif piece.kind == "refusal":
                telling.refuse(piece.text)
            elif piece.kind == "citation":
                telling.cite(citation(piece.citation))
            else:
                self._pictures.append(piece.text)
        for call, arguments in self._calls.take(delta, whole=whole):
            if call is not self._called:
                self._end_called()
                self._called = call
            if call.call_id not in self._ended_calls:
                telling.call(call, arguments)

    def _end_called(self) -> None:
        """The next call begins: end the one before, if its arguments are whole."""
        call = self._called
        if call is None or call.kind != "function" or call.call_id in self._ended_calls:
            return
        if call.name in self._facts.searches or call.name in self._facts.own or not _is_whole(call.so_far):
            return
        self._ended_calls.add(call.call_id)
        self._telling.end_call(FinalCall(call, call.call_id, call.kind, call.name, call.so_far), "completed")

    def _open_calls(self) -> list[FinalCall]:
        return [call for call in self._calls.result() if call.call_id not in self._ended_calls]

    def _conclude(self, usage: Usage, cost: AnswerCost | None) -> dict[str, Any]:
        """End what is open. Returns the response."""
        telling = self._telling
        state = telling.state
        state.status, state.reason = ending_of(self._finish)
        status = "incomplete" if state.status == "incomplete" else "completed"
        calls = self._open_calls()
        telling.end("completed" if calls or self._ended_calls else status)
        for call in calls:
            if call.name not in self._facts.own:
                telling.end_call(call, status)
        for call in calls:
            if call.name in self._facts.own:
                self.orders.append((telling.begin_picture(), call.arguments))
        for picture in self._pictures:
            if (item := picture_item("", picture)) is not None:
                telling.show("ig", item)
            else:
                telling.say(f"![image]({picture})")
        if self._facts.compacts:
            telling.show("cmp", {"type": "compaction", "encrypted_content": sealed("".join(self._summary))})
        telling.end("completed")
        state.usage, self.cost = usage_object(usage, cost), cost
        if self.orders:
            self._status, state.status = state.status, "in_progress"
            return telling.now()
        response = telling.response(state.status)
        self._ended(response)
        return response


def _is_whole(arguments: str) -> bool:
    """Whether a call's arguments are a whole object. An empty one may be a placeholder."""
    try:
        return bool(orjson.loads(arguments)) and arguments.lstrip().startswith("{")
    except orjson.JSONDecodeError:
        return False
