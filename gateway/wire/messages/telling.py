"""The writer of a message's events: its blocks, one after the other, each begun, told and stopped.

It holds the message as it grows; what the client is to get is gathered until asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.wire.chat_pieces import WholeCharacters
from gateway.wire.sse import encode_event
from gateway.wire.writable import dump_json

_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


class MessageTelling:
    """The events of one message, and its content."""

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._kind: str | None = None  # of the block that is being told
        self._call = ""  # the id of the call that is being told
        self._texts: list[str] = []
        self._characters = WholeCharacters()
        self.content: list[dict[str, Any]] = []

    def due(self) -> bytes:
        """What is to be sent now."""
        due = b"".join(self._out)
        self._out.clear()
        return due

    def event(self, name: str, **fields: Any) -> None:
        self._out.append(encode_event(dump_json({"type": name, **fields}), name.encode("ascii")))

    def say(self, kind: str, text: str) -> None:
        """Tell a piece of text, or of the model's thoughts (``thinking``)."""
        if self._kind != kind:
            self.stop()
            self._begin(kind, {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})})
        if whole := self._characters.take(text):
            self._tell(whole)

    @property
    def text(self) -> str:
        """The text of the block that is being told."""
        return "".join(self._texts) if self._kind == "text" else ""

    def calls(self, id: str) -> bool:
        """Whether this call is the block that is being told."""
        return self._kind == "tool_use" and self._call == id

    @property
    def is_calling(self) -> bool:
        """Whether a call is being told."""
        return self._kind == "tool_use"

    def begin_call(self, id: str, name: str) -> None:
        self.stop()
        self._call = id
        self._begin("tool_use", {"type": "tool_use", "id": id, "name": name, "input": {}})

    def argue(self, json: str) -> None:
        """Tell a piece of the arguments of the call that is being told."""
        if json:
            self._texts.append(json)
            self._delta({"type": "input_json_delta", "partial_json": json})

    @property
    def arguments(self) -> str:
        """The arguments of the call that is being told, as far as they were."""
        return "".join(self._texts)

    def stop(self) -> None:
        """End the block that is being told, if there is one."""
        if self._kind is None:
            return
        if self._kind != "tool_use" and (rest := self._characters.rest()):
            self._tell(rest)
        block, text = self.content[-1], "".join(self._texts)
        if self._kind == "tool_use":
            block["input"] = arguments_object(text)
        else:
            block[self._kind] = text
        if self._kind == "thinking":
            self._delta({"type": "signature_delta", "signature": ""})
        self.event("content_block_stop", index=len(self.content) - 1)
        self._kind = None
        self._texts = []

    def _begin(self, kind: str, block: dict[str, Any]) -> None:
        self._kind = kind
        self.event("content_block_start", index=len(self.content), content_block=block)
        self.content.append({**block})

    def _tell(self, text: str) -> None:
        assert self._kind is not None
        self._texts.append(text)
        kind, field = _DELTAS[self._kind]
        self._delta({"type": kind, field: text})

    def _delta(self, delta: Mapping[str, Any]) -> None:
        self.event("content_block_delta", index=len(self.content) - 1, delta=delta)


def arguments_object(text: str) -> dict[str, Any]:
    """A call's arguments as an object. What is none is told as Anthropic recommends it for broken JSON.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": text}


def is_complete(text: str) -> bool:
    """Whether a call's arguments are a whole object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except ValueError:
        return False
