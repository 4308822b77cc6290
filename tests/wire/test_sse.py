"""The event parser, fed the same streams cut and framed in every way the wire allows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import (
    DONE,
    Comment,
    Event,
    EventTooBig,
    FirstBytes,
    SSEParser,
    begins_like_events,
    encode_event,
    is_terminator,
)

# stream → the (data, event name) pairs and comments it holds, by the standard
CORPUS: dict[bytes, list[tuple[bytes, bytes | None] | bytes]] = {
    b'data: {"a":1}\n\ndata: [DONE]\n\n': [(b'{"a":1}', None), (b"[DONE]", None)],
    b"data:no space\n\ndata:  two spaces\n\n": [(b"no space", None), (b" two spaces", None)],
    b"data: one\ndata: two\ndata\ndata:\n\n": [(b"one\ntwo\n\n", None)],
    b"data:\n\ndata\n\n": [(b"", None), (b"", None)],
    b"event: error\ndata: x\n\ndata: y\n\n": [(b"x", b"error"), (b"y", None)],
    b"event:\ndata: x\n\n": [(b"x", None)],
    b"event: lonely\n\ndata: x\n\n": [(b"x", None)],
    b"id: 7\nretry: 10\ndata: x\nunknown: y\nunknown\n\n": [(b"x", None)],
    b"id: 7\n\nretry: 10\n\n": [],
    b": ping\n\n:\n\ndata: x\n\n": [b"ping", b"", (b"x", None)],
    b":ping\n: pong\ndata: x\n: inside\n\n": [b"ping", b"pong", (b"x", None)],
    b"\n\n\ndata: x\n\n\n\ndata: y\n\n\n": [(b"x", None), (b"y", None)],
    b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n": [(b"x", None)],
    b"\xef\xbb\xbf: mark\n\ndata: x\n\n": [b"mark", (b"x", None)],
    b"\xef\xbbdata: x\n\n": [],
    b"data: x\r\n\r\ndata: y\r\n\r\n": [(b"x", None), (b"y", None)],
    b"data: x\r\rdata: y\r\r": [(b"x", None), (b"y", None)],
    b"data: x\n\r\ndata: y\r\n\ndata: z\r\r\n": [(b"x", None), (b"y", None), (b"z", None)],
    b"data: x\r\n: c\r\ndata: y\r\n\r\n: d\r\n\r\n": [(b"x\ny", None), b"d"],
    "data: ä\u2028\u0085\v\f\x1c😀\n\n".encode(): [("ä\u2028\u0085\v\f\x1c😀".encode(), None)],
    b"data: x\x00\n\n": [(b"x\x00", None)],
    b" data: x\n\nDATA: y\n\n": [],
    b"data: x\n\ndata: cut off\n": [(b"x", None)],
    b"data: x\n\ndata: cut": [(b"x", None)],
    b"": [],
}


def read(*chunks: bytes, limit: int = 1 << 20) -> list[Event | Comment]:
    parser = SSEParser(limit)
    return [item for chunk in chunks for item in parser.feed(chunk)]


def meaning(items: list[Event | Comment]) -> list[tuple[bytes, bytes | None] | bytes]:
    return [item.text if isinstance(item, Comment) else (item.data, item.event) for item in items]


@pytest.mark.parametrize("stream", CORPUS)
def test_a_stream_means_the_same_wherever_it_is_cut(stream):
    assert meaning(read(stream)) == CORPUS[stream]
    for first in range(len(stream) + 1):
        assert meaning(read(stream[:first], stream[first:])) == CORPUS[stream]
        for second in range(first, len(stream) + 1):
            assert meaning(read(stream[:first], stream[first:second], stream[second:])) == CORPUS[stream]
    assert meaning(read(*(stream[at : at + 1] for at in range(len(stream))))) == CORPUS[stream]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_raws_of_a_stream_are_its_bytes(end):
    stream = end.join(
        [b"data: x", b"", b"event: e", b": inside", b"data: y", b"data: z", b"", b"id: 1", b"data:w", b"", b""]
    )
    for cut in range(len(stream) + 1):
        events = read(stream[:cut], stream[cut:])
        raw = b"".join(event.raw for event in events)
        # A CR LF torn after the last event's CR leaves an LF that no event follows.
        assert raw == stream or (end == b"\r\n" and cut == len(stream) - 1 and raw + b"\n" == stream)
        # Every raw, read alone, is its event again.
        assert [meaning(read(event.raw)) for event in events] == [[pair] for pair in meaning(events)]


def test_comments_and_stray_lines_between_events_are_in_no_raw():
    items = read(b"\xef\xbb\xbf\n: ping\n\nretry: 5\n\n\ndata: x\n\n: pong\ndata: y\n\n")
    assert [item.raw for item in items if isinstance(item, Event)] == [b"data: x\n\n", b"data: y\n\n"]


def test_an_event_is_given_out_with_its_blank_lines_cr_not_with_the_next_chunk():
    parser = SSEParser()
    assert meaning(parser.feed(b"data: x\r\n\r")) == [(b"x", None)]
    assert parser.incomplete == b""
    assert parser.feed(b"\n") == []
    assert parser.incomplete == b""
    assert parser.feed(b"data: y\r\n\r\n") == [Event(b"y", None, b"\ndata: y\r\n\r\n")]


def test_incomplete_is_what_the_end_of_the_stream_cut_off():
    parser = SSEParser()
    assert parser.incomplete == b""
    parser.feed(b"data: x\n\n")
    assert parser.incomplete == b""
    parser.feed(b"data: [DO")
    assert parser.incomplete == b"data: [DO"
    parser.feed(b"NE]\n")
    assert parser.incomplete == b"data: [DONE]\n"
    parser.feed(b"\n: comment\n")
    assert parser.incomplete == b""
    assert parser.feed(b"") == []


def test_what_looks_like_a_byte_order_mark_and_is_none_is_kept():
    parser = SSEParser()
    assert parser.feed(b"\xef\xbb") == []
    assert parser.incomplete == b"\xef\xbb"
    assert parser.feed(b"x: 1\n") == []
    assert parser.incomplete == b"\xef\xbbx: 1\n"


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_an_event_above_the_limit_is_refused_wherever_it_is_cut(cut):
    fits = b"data: " + b"x" * 22 + b"\n\n"
    too_big = b"data: " + b"x" * 23 + b"\n\n"
    small = b"data: s\n\n"
    assert len(fits) == 30
    assert meaning(read(fits[:cut], fits[cut:], fits, limit=30)) == [(b"x" * 22, None)] * 2
    with pytest.raises(EventTooBig):
        read(too_big[:cut], too_big[cut:], limit=30)
    with pytest.raises(EventTooBig) as caught:
        read(small + too_big + small, limit=30)
    assert caught.value.before == read(small)
    assert caught.value.limit == 30
    assert "30 bytes" in str(caught.value)


def test_an_endless_line_or_event_is_refused_before_it_is_held():
    for piece in (b"x", b"data: x\n", b": inside\n"):
        parser = SSEParser(1000)
        parser.feed(b"data: begun\n")
        for _ in range(990 // len(piece) - 2):
            parser.feed(piece)
            assert len(parser.incomplete) <= 1000
        with pytest.raises(EventTooBig):
            parser.feed(piece * 1000)


def test_comments_without_end_are_never_an_event_too_big():
    parser = SSEParser(100)
    for _ in range(1000):
        assert parser.feed(b": still there\n") == [Comment(b"still there")]
    assert parser.incomplete == b""


def test_a_chunk_may_be_bigger_than_the_limit_if_its_events_are_not():
    assert len(read(b"data: x\n\n" * 1000, limit=10)) == 1000


def test_encoding_an_event():
    assert encode_event(b"[DONE]") == DONE
    assert encode_event(b"x", b"error") == b"event: error\ndata: x\n\n"
    assert encode_event(b"") == b"data: \n\n"
    assert encode_event(b"a\nb\r\nc\rd", b"e") == b"event: e\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
    for name in (b"a\nb", b"a\rb"):
        with pytest.raises(ValueError, match="one line"):
            encode_event(b"x", name)


@pytest.mark.parametrize("data", [b"[DONE]", b" [DONE]\t", b"[done]", b"[Done]", b"[none]", b"[NONE] \n"])
def test_terminators(data):
    assert is_terminator(data)


@pytest.mark.parametrize("data", [b"", b"DONE", b"[DONE", b"[DON3]", b'"[DONE]"', b"{}", b"[DONE][DONE]"])
def test_what_is_no_terminator(data):
    assert not is_terminator(data)


lines = st.one_of(
    st.sampled_from([b"data", b"data:", b"data: x", b"event: e", b"event", b": c", b":", b"id: 1", b"", b"", b"x"]),
    st.binary(max_size=12).map(lambda raw: re.sub(rb"[\r\n]", b"", raw)),
)


@given(st.lists(lines, max_size=20), st.data())
def test_reframing_a_stream_changes_no_event(content, data):
    """The same lines under LF, CR LF, CR or a mix, cut anywhere, hold the same events and comments."""
    expected = meaning(read(b"".join(line + b"\n" for line in content)))
    ends = data.draw(
        st.one_of(
            *(st.just([end] * len(content)) for end in (b"\n", b"\r\n", b"\r")),
            st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=len(content), max_size=len(content)),
        )
    )
    stream = b"".join(line + end for line, end in zip(content, ends, strict=True))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert meaning(read(*chunks)) == expected


@given(st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([None, b"error", b"x y"])), max_size=8))
def test_what_is_encoded_is_read_back(events):
    stream = b"".join(encode_event(data, name) for data, name in events)
    items = read(stream)
    assert meaning(items) == [(re.sub(rb"\r\n?", b"\n", data), name) for data, name in events]
    assert b"".join(item.raw for item in items) == stream


class TestTheBeginningOfAnAnswer:
    @pytest.mark.parametrize("blank", [b"", b"\n", b" \r\n\t", b"\xef", b"\xef\xbb", b"\xef\xbb\xbf", b"\n\xef\xbb"])
    def test_that_tells_nothing_yet(self, blank: bytes) -> None:
        beginning = FirstBytes()
        assert not beginning.is_json(blank)
        assert not beginning.told

    @pytest.mark.parametrize("events", [b":", b"d", b"\xef\xbb\xbfdata: {}", b"\n" * (1 << 12)])
    def test_that_is_no_json(self, events: bytes) -> None:
        beginning = FirstBytes()
        assert not beginning.is_json(events)
        assert beginning.told

    @pytest.mark.parametrize("document", [b"{", b"\n[", b"\xef\xbb\xbf{", b"\xef\xbb\xbf\r\n{"])
    def test_that_is_json_wherever_it_is_split(self, document: bytes) -> None:
        for place in range(len(document)):
            beginning = FirstBytes()
            assert not beginning.is_json(document[:place])
            assert beginning.is_json(document[place:] + b'"a"')
            assert beginning.data == document + b'"a"'


@pytest.mark.parametrize("beginning", [b"data\n", b"\xef\xbb\xbfid\r\n", b"\n\nevent\r"])
def test_a_field_without_colon_begins_events_too(beginning: bytes) -> None:
    assert begins_like_events(beginning)
    assert not begins_like_events(b"dataset\n")
