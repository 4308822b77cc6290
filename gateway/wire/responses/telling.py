"""The writer of a response's events: numbered from the first to the last, each with its name.

It holds the output as it grows, and is told what the model says; what the client is to get is gathered until asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.wire.chat_calls import BegunCall, FinalCall
from gateway.wire.chat_pieces import WholeCharacters
from gateway.wire.responses.answer import (
    ResponseFacts,
    ResponseState,
    call_item,
    made_picture_item,
    message_item,
    reasoning_item,
    refusal_part,
    response_object,
    search_item,
    text_part,
)
from gateway.wire.sse import encode_event
from gateway.wire.writable import dump_json

_TOLD_AS = {
    "custom": ("custom_tool_call_input", "input", "ctc"),
    "function": ("function_call_arguments", "arguments", "fc"),
}


class _Open:
    """An item that is being told.

    ``index``: its place in the output. ``parts``: of a message, those that have ended.
    ``kind``: of the part that is being told; None for none. ``texts``: its pieces.
    """

    def __init__(self, id: str, index: int) -> None:
        self.id = id
        self.index = index
        self.parts: list[dict[str, Any]] = []
        self.kind: str | None = None
        self.texts: list[str] = []
        self.characters = WholeCharacters()
        self.annotations: list[Any] = []
        self.logprobs: list[Any] = []


class ResponseTelling:
    """The events of one response.

    ``silent``: none are written: only the output is of interest. ``number``: of the first event.
    """

    def __init__(self, facts: ResponseFacts, *, silent: bool = False, number: int = 0) -> None:
        self._facts = facts
        self._silent = silent
        self._number = number
        self._out: list[bytes] = []
        self._message: _Open | None = None
        self._thought: _Open | None = None
        self._calls: dict[str, _Open] = {}
        self._output: list[dict[str, Any]] = []
        self.state = ResponseState()

    def due(self) -> bytes:
        """What is to be sent now."""
        due = b"".join(self._out)
        self._out.clear()
        return due

    @property
    def text(self) -> str:
        """The text of the message that is being told."""
        message = self._message
        return "".join(message.texts) if message is not None and message.kind == "output_text" else ""

    def event(self, name: str, /, **fields: Any) -> None:
        """Write an event of this name, which is completed by ``response.``."""
        if self._silent:
            return
        name = f"response.{name}"
        data = dump_json({"type": name, **fields, "sequence_number": self._number}, heavy=True)
        self._number += 1
        self._out.append(encode_event(data, name.encode()))

    def response(self, name: str) -> dict[str, Any]:
        """Write an event that has the whole response, as it stands. Returns the response."""
        response = self.now()
        self.event(name, response=response)
        return response

    def now(self) -> dict[str, Any]:
        """The response as it stands."""
        self.state.output = self._output
        return response_object(self._facts, self.state)

    def so_far(self) -> dict[str, Any]:
        """The response as it stands, with what has been said of items that are being told."""
        response = self.now()
        output: list[dict[str, Any]] = response["output"]
        if (thought := self._thought) is not None:
            words = "".join(thought.texts)
            output[thought.index] = reasoning_item(thought.id, "in_progress", words, summarized=self._facts.summarized)
        if (message := self._message) is not None:
            text, parts = "".join(message.texts), [*message.parts]
            if message.kind == "output_text":
                parts.append(text_part(text, message.annotations, message.logprobs))
            elif message.kind is not None:
                parts.append(refusal_part(text))
            output[message.index] = message_item(message.id, "in_progress", parts)
        return response

    # What the model thinks

    def think(self, words: str) -> None:
        """The next piece of its thoughts."""
        self._end_message("completed")
        thought = self._thought
        if thought is None:
            thought = self._thought = self._begin("rs")
            self._add(reasoning_item(thought.id, "in_progress", None, summarized=self._facts.summarized), thought)
            part = {"type": "summary_text" if self._facts.summarized else "reasoning_text", "text": ""}
            self.event(f"{self._part_event()}.added", **self._place(thought), part=part)
        words = thought.characters.take(words)
        thought.texts.append(words)
        self.event(f"{self._thought_event()}.delta", **self._place(thought), delta=words)

    def _end_thought(self, status: str) -> None:
        thought, self._thought = self._thought, None
        if thought is None:
            return
        words = "".join(thought.texts) + thought.characters.rest()
        item = reasoning_item(thought.id, status, words, summarized=self._facts.summarized)
        [part] = item["summary" if self._facts.summarized else "content"]
        self.event(f"{self._thought_event()}.done", **self._place(thought), text=words)
        self.event(f"{self._part_event()}.done", **self._place(thought), part=part)
        self._done(item, thought)

    def _thought_event(self) -> str:
        return "reasoning_summary_text" if self._facts.summarized else "reasoning_text"

    def _part_event(self) -> str:
        return "reasoning_summary_part" if self._facts.summarized else "content_part"

    def _place(self, thought: _Open) -> dict[str, Any]:
        part = "summary_index" if self._facts.summarized else "content_index"
        return {"item_id": thought.id, "output_index": thought.index, part: 0}

    # What it says

    def say(self, text: str, logprobs: Sequence[Any] = ()) -> None:
        """The next piece of its text."""
        message = self._speaking("output_text")
        text = message.characters.take(text)
        message.texts.append(text)
        message.logprobs += logprobs
        self.event("output_text.delta", **_part(message), delta=text, logprobs=list(logprobs))

    def refuse(self, words: str) -> None:
        """The next piece of a refusal."""
        message = self._speaking("refusal")
        words = message.characters.take(words)
        message.texts.append(words)
        self.event("refusal.delta", **_part(message), delta=words)

    def cite(self, annotation: dict[str, Any]) -> None:
        """A citation in its text; one that was told before is not told again."""
        message = self._speaking("output_text")
        if annotation not in message.annotations:
            message.annotations.append(annotation)
            place = len(message.annotations) - 1
            self.event("output_text.annotation.added", **_part(message), annotation_index=place, annotation=annotation)

    def _speaking(self, kind: str) -> _Open:
        self._end_thought("completed")
        message = self._message
        if message is None:
            message = self._message = self._begin("msg")
            self._add(message_item(message.id, "in_progress"), message)
        if message.kind != kind:
            self._end_part(message)
            message.kind = kind
            part = text_part("") if kind == "output_text" else refusal_part("")
            self.event("content_part.added", **_part(message), part=part)
        return message

    def _end_part(self, message: _Open) -> None:
        if message.kind is None:
            return
        text = "".join(message.texts) + message.characters.rest()
        if message.kind == "output_text":
            part = text_part(text, message.annotations, message.logprobs)
            self.event("output_text.done", **_part(message), text=text, logprobs=message.logprobs)
        else:
            part = refusal_part(text)
            self.event("refusal.done", **_part(message), refusal=text)
        self.event("content_part.done", **_part(message), part=part)
        message.parts.append(part)
        message.kind, message.texts, message.annotations, message.logprobs = None, [], [], []

    def _end_message(self, status: str) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._end_part(message)
            self._done(message_item(message.id, status, message.parts), message)

    # What it calls

    def call(self, call: BegunCall, arguments: str) -> None:
        """The next piece of a call's arguments. A search of tools is told of when it is whole."""
        if call.name in self._facts.searches or call.name in self._facts.own:
            return
        self._end_thought("completed")
        self._end_message("completed")
        told = self._calls.get(call.call_id)
        name, _, prefix = _TOLD_AS[call.kind]
        if told is None:
            told = self._calls[call.call_id] = self._begin(prefix)
            self._add(
                call_item(told.id, "in_progress", call.kind, call.call_id, self._facts.named(call.name), ""), told
            )
        if arguments:
            self.event(f"{name}.delta", item_id=told.id, output_index=told.index, delta=arguments)

    def end_call(self, call: FinalCall, status: str) -> None:
        """A call is whole. What was not told of its arguments yet is told now."""
        if call.name in self._facts.searches:
            self.show("tsc", search_item("", status, call.call_id, call.arguments))
            return
        so_far = call.begun.so_far if call.begun is not None else ""
        rest = call.arguments.removeprefix(so_far) if call.arguments.startswith(so_far) else ""
        if rest or call.call_id not in self._calls:
            self.call(call.begun or BegunCall(call.call_id, call.kind, call.name), rest)
        told = self._calls.pop(call.call_id)
        name, field, _ = _TOLD_AS[call.kind]
        named = self._facts.named(call.name)
        place = {"item_id": told.id, "output_index": told.index}
        self.event(
            f"{name}.done",
            **place,
            **({"name": named["name"]} if call.kind == "function" else {}),
            **{field: call.arguments},
        )
        self._done(call_item(told.id, status, call.kind, call.call_id, named, call.arguments), told)

    # The end

    def show(self, kind: str, item: dict[str, Any]) -> None:
        """An item that is whole at once. ``kind``: the prefix of its id."""
        self.end("completed")
        told = self._begin(kind)
        item = {**item, "id": told.id}
        self._add(item, told)
        self._done(item, told)

    # What this gateway does itself

    def begin_picture(self) -> int:
        """A picture is being made. Returns the place of its item."""
        self.end("completed")
        told = self._begin("ig")
        self._add(made_picture_item(told.id, "in_progress", {}), told)
        for step in ("in_progress", "generating"):
            self.event(f"image_generation_call.{step}", output_index=told.index, item_id=told.id)
        self._output[told.index]["status"] = "generating"
        return told.index

    def show_partial(self, index: int, fields: Mapping[str, Any]) -> None:
        """A picture as far as it has come. ``index``: the place of its item."""
        place = {"output_index": index, "item_id": self._output[index]["id"]}
        self.event("image_generation_call.partial_image", **place, **fields)

    def end_picture(self, index: int, status: str, fields: Mapping[str, Any]) -> None:
        """A picture is made, or could not be."""
        id = self._output[index]["id"]
        item = self._output[index] = made_picture_item(id, status, fields)
        if status == "completed":
            self.event("image_generation_call.completed", output_index=index, item_id=id)
        self.event("output_item.done", output_index=index, item=item)

    def break_off(self, calls: Sequence[FinalCall]) -> None:
        """Let the output hold what was said so far, without telling of it: there will be no more."""
        silent, self._silent = self._silent, True
        self.end("incomplete")
        for call in calls:
            self.end_call(call, "incomplete")
        self._silent = silent

    def end(self, status: str) -> None:
        """End what is being said; calls are ended one by one."""
        self._end_thought(status)
        self._end_message(status)

    # Items

    def _begin(self, prefix: str) -> _Open:
        index = len(self._output)
        return _Open(self._facts.item_id(prefix, index), index)

    def _add(self, item: dict[str, Any], told: _Open) -> None:
        self._output.append(item)
        self.event("output_item.added", output_index=told.index, item=item)

    def _done(self, item: dict[str, Any], told: _Open) -> None:
        self._output[told.index] = item
        self.event("output_item.done", output_index=told.index, item=item)


def _part(message: _Open) -> Mapping[str, Any]:
    return {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts)}
