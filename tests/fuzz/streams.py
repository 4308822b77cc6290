"""One odd stream from one integer: what is meant, how it is written, what a gateway makes of it, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.wire.answer_head import Head
from tests.fuzz.documents import AS_DOCUMENTS, write_document
from tests.fuzz.drawing import Draw
from tests.fuzz.driving import Played, drive
from tests.fuzz.meaning import Meaning, draw_meaning
from tests.fuzz.stream_oracle import Fault, check_streamed, check_whole
from tests.fuzz.stream_writing import Stream, write_stream
from tests.translate.chat import conversation


@dataclass
class StreamCase:
    """A case. ``fields``: of the client's request."""

    seed: int
    meaning: Meaning
    stream: Stream
    pieces: list[bytes]
    fields: dict[str, Any]
    is_document: bool

    @property
    def head(self) -> Head:
        label = self.stream.label
        return Head(200, () if label is None else ((b"content-type", label),))

    @property
    def streamed(self) -> bool:
        return bool(self.fields.get("stream"))


def stream_case(seed: int) -> StreamCase:
    """The case of this seed."""
    draw = Draw(seed)
    meaning = draw_meaning(draw)
    is_document = meaning.ending in AS_DOCUMENTS and draw.chance(0.1)
    stream = write_document(draw, meaning) if is_document else write_stream(draw, meaning)
    fields: dict[str, Any] = {}
    if len(meaning.choices) > 1:
        fields["n"] = len(meaning.choices)
    if meaning.tools and draw.chance(0.7):
        names = dict.fromkeys(call.name for said in meaning.choices for call in said.calls)
        fields["tools"] = [{"type": "function", "function": {"name": name}} for name in names]
    if draw.chance(0.5):
        fields["stream"] = True
        fields["stream_options"] = draw.one_of(None, {"include_usage": True}, {"include_usage": False})
    return StreamCase(seed, meaning, stream, draw.cut(stream.data), fields, is_document)


def play_stream(case: StreamCase) -> tuple[Played, bytes | None]:
    """What the client gets: the bytes of a stream, and a whole answer."""
    talk = conversation(**case.fields)
    played = drive(talk, case.head, case.pieces, case.stream.end)
    return played, talk.answer


def check_stream(seed: int) -> None:
    """Play the case of this seed. Raises Fault if the client does not get what it must."""
    case = stream_case(seed)
    played, answer = play_stream(case)
    ok = played.outcome.ok
    try:
        if case.streamed:
            asked = bool((case.fields["stream_options"] or {}).get("include_usage"))
            check_streamed(case.meaning, case.stream, played.emitted, ok=ok, asked=asked, is_document=case.is_document)
        else:
            check_whole(case.meaning, case.stream, answer, ok=ok)
    except Fault as fault:
        raise Fault(f"{fault} | {played.outcome.slug}: {played.outcome.detail}") from None
