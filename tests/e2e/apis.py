"""The APIs by which clients may ask for a chat: how each asks, and how it is answered when all or nothing went well.

The tables of faults hold for every one of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .harness import MESSAGES, PATH, Answer, Rig, chat_body


@dataclass(frozen=True)
class Api:
    """One client API. ``path``: of its route."""

    name: str
    path: str

    def __str__(self) -> str:
        return self.name

    def body(self, **fields: Any) -> bytes:
        """A request with the prompt of all tests."""
        raise NotImplementedError

    def check_whole(self, answer: Answer) -> None:
        """A whole answer that is complete."""
        raise NotImplementedError

    def check_stream(self, answer: Answer) -> None:
        """A stream that is complete, without any error."""
        raise NotImplementedError

    def broken(self, answer: Answer) -> tuple[str, str]:
        """The words of a stream that broke off after content, and the code that it ended with."""
        raise NotImplementedError

    async def ask(self, rig: Rig, *, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
        return await rig.post(self.body(**fields), headers=headers, target=self.path)


class Chat(Api):
    def body(self, **fields: Any) -> bytes:
        return chat_body(**fields)

    def check_whole(self, answer: Answer) -> None:
        assert answer.json()["choices"][0]["finish_reason"] == "stop"

    def check_stream(self, answer: Answer) -> None:
        assert answer.payloads[-1] == b"[DONE]"
        assert b"error" not in answer.body

    def broken(self, answer: Answer) -> tuple[str, str]:
        error = answer.stream_error()
        assert error["type"] == "upstream_error"
        return Answer(200, [], b"".join(answer.events[:-1]), complete=True).text, error["code"]


class Responses(Api):
    def body(self, **fields: Any) -> bytes:
        return json.dumps({"model": "gpt-4o", "input": MESSAGES, **fields}).encode()

    def check_whole(self, answer: Answer) -> None:
        response = answer.json()
        assert (response["object"], response["status"]) == ("response", "completed")

    def check_stream(self, answer: Answer) -> None:
        events = self.events(answer)
        assert events[-1]["type"] == "response.completed"
        assert not [event for event in events if event["type"] in ("error", "response.failed")]

    def broken(self, answer: Answer) -> tuple[str, str]:
        assert answer.complete
        assert answer.closes
        events = self.events(answer)
        assert events[-1]["type"] == "response.failed"
        assert "response.completed" not in [event["type"] for event in events]
        words = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        [message] = events[-1]["response"]["output"]
        assert message["content"][0]["text"] == words
        return words, events[-1]["response"]["error"]["code"]

    def events(self, answer: Answer) -> list[Any]:
        """The events, which are numbered."""
        events = [json.loads(payload) for payload in answer.payloads]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        return events


APIS = (Chat("chat", PATH), Responses("responses", "/v1/responses"))
