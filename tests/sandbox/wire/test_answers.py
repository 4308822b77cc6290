"""Events and their framing."""

from __future__ import annotations

from gateway.sandbox.wire.answers import Event, Framing


def test_a_named_event_keeps_its_name_in_every_framing() -> None:
    event = Event(b'{"a":1}', name=b"error")

    assert Framing().encode(event) == b'event: error\ndata: {"a":1}\n\n'
    assert Framing(newline=b"\r\n", space=False).encode(event) == b'event: error\r\ndata:{"a":1}\r\n\r\n'
    assert Framing(many_lines=True).encode(event) == b'event: error\ndata: {\ndata:   "a": 1\ndata: }\n\n'
