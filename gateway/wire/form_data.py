"""A multipart/form-data body (RFC 7578), read whole: its text fields and its files, in order.

The body is in memory already, within the listener's limit; the bounds here are on what a body of that size could
contain: parts, headers, text. File names are never used, but for their ending where a file is passed on: a file's
first bytes say what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.core.errors import ClientError, invalid_request, shorten
from gateway.wire.cut_characters import mended_text

MAX_PARTS = 128
"""Fields and files together. An image order has at most about 50."""

MAX_PART_HEADERS = 8 << 10
"""Bytes of all the headers of one part."""

MAX_TEXT = 1 << 20
"""Bytes of one text field. The longest useful one is an image order's ``extra_body``."""

_SLICE = 1 << 20
_BEHIND_THE_END = "Unexpected data after end of multipart stream"
_MOST_HEADERS = 8  # RFC 7578 knows three
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, section 5.1.1
# Older clients send the name of a file only in this form if it is not ASCII (RFC 5987).
_EXTENDED_FILE_NAME = re.compile(r";\s*filename\*\s*=", re.IGNORECASE)

_ENDING = re.compile(r"[a-z0-9]{1,8}")

_REASONS = {
    "Unexpected end of multipart stream (parser closed)": "it ends before its last boundary",
    "Boundary not found in first chunk": "it does not begin with the boundary that its content-type names",
    "Maximum segment count exceeded": f"it has more than {MAX_PARTS} parts",
    "Maximum segment header length exceeded": f"a part has more than {MAX_PART_HEADERS} bytes of headers",
    "Maximum segment header count exceeded": f"a part has more than {_MOST_HEADERS} headers",
    "Segment header failed to decode": "a part's header is not valid UTF-8",
}
"""The parser's error messages → plainer ones."""


@dataclass(frozen=True, slots=True)
class FormFile:
    """One file of a form.

    ``name``: of the form's field.
    ``content_type``: as the client claims, lower case; empty if it claims none.
    ``ending``: what its name ends in after the last full stop, as the client claims: letters and digits, lower case;
        empty if it claims none.
    """

    name: str
    content_type: str
    data: bytes = field(repr=False)
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """The text fields of a form as (name, text), and its files; each in the order of the body. Names may repeat."""

    fields: list[tuple[str, str]] = field(repr=False)
    files: list[FormFile]


def parse_form(body: bytes, content_type: bytes) -> Form:
    """Read ``body``.

    ``content_type``: the request header's value, which names the boundary.

    Raises ClientError 400 ``invalid_form`` saying what is wrong; ``param`` names the field where one is at fault.
    """
    form = Form([], [])
    try:
        for segment, data in _parts(body, _boundary(content_type)):
            name = segment.name or ""
            if _is_file(segment):
                form.files.append(FormFile(name, segment.content_type or "", data, _ending(segment.filename)))
            else:
                form.fields.append((name, _text(name, data)))
    except MultipartError as error:
        # Nothing but the first argument: others may quote the body.
        reason = str(error.args[0])
        raise invalid_form(_REASONS.get(reason, reason[:1].lower() + reason[1:])) from None
    return form


def invalid_form(reason: str, param: str | None = None) -> ClientError:
    """400 ``invalid_form``: the form cannot be read.

    ``reason``: a clause.
    ``param``: the field at fault; None if no single field is.
    """
    return invalid_request(f"The request's form cannot be read: {reason}.", param=param, code="invalid_form")


def _boundary(content_type: bytes) -> str:
    kind, options = parse_options_header(content_type.decode("latin-1"))
    if kind != "multipart/form-data":
        raise invalid_form("its content-type must be multipart/form-data")
    boundary: str = options.get("boundary", "")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise invalid_form("its content-type must name a boundary of 1 to 70 of the characters that RFC 2046 allows")
    return boundary


def _parts(body: bytes, boundary: str) -> Iterator[tuple[MultipartSegment, bytes]]:
    parser = PushMultipartParser(
        boundary,
        max_header_size=MAX_PART_HEADERS,
        max_header_count=_MOST_HEADERS,
        max_segment_count=MAX_PARTS,
        strict=True,
    )
    segment: MultipartSegment | None = None
    pieces: list[bytes] = []
    for event in _events(parser, body):
        if isinstance(event, MultipartSegment):
            segment, pieces = event, []
            if sum(len(name) + len(value) for name, value in event.headerlist) > MAX_PART_HEADERS:
                raise MultipartError("Maximum segment header length exceeded")
        elif event is not None:
            pieces.append(bytes(event))
        else:
            assert segment is not None
            yield segment, b"".join(pieces)  # other threads run while this copies megabytes


def _events(parser: PushMultipartParser, body: bytes) -> Iterator[MultipartSegment | bytes | bytearray | None]:
    """What the parser finds in ``body``, slice by slice: to search 50 MB at once takes 25 ms, and to copy them as long,
    for which no other thread runs. What stands behind the form's end is passed over.
    """
    for start in range(0, len(body), _SLICE):
        try:
            yield from parser.parse(body[start : start + _SLICE])
        except MultipartError as error:
            if error.args[0] == _BEHIND_THE_END:
                return
            raise
    parser.close()


def _is_file(segment: MultipartSegment) -> bool:
    if segment.filename is not None or (segment.content_type or "").startswith(("image/", "audio/")):
        return True
    return _EXTENDED_FILE_NAME.search(segment.header("Content-Disposition", "")) is not None


def _ending(file_name: str | None) -> str:
    ending = (file_name or "").rpartition(".")[2].lower()
    return ending if _ENDING.fullmatch(ending) else ""


def _text(name: str, data: bytes) -> str:
    shown = shorten(name)
    if len(data) > MAX_TEXT:
        raise invalid_form(f"its field '{shown}' has more than {MAX_TEXT} bytes", shown)
    return mended_text(data)
