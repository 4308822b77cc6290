"""The writing of one log line from its fields: valid JSON or one line of text, without secrets, of a bounded length."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from os import PathLike, fspath
from typing import Any

import orjson

from gateway.telemetry.redaction import MASK, Redactor

LINE_CAP = 4096
"""Bytes of a line, its end included. A longer one is cut and marked as cut."""

LogFields = dict[str, Any]

_MARK = "…"
_DEEPEST = 6
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_RESET = "\x1b[0m"
_BARE = re.compile(r"[A-Za-z0-9_./:;@%+~^*?!$&()<>|#-]+")

_UNSAFE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""Characters that JSON allows raw but terminals or line readers obey: DEL, C1 controls, U+2028/2029, marks of
direction."""


def json_line(record: LogFields, redactor: Redactor) -> bytes:
    """``record`` as one line of JSON. Its first three fields (ts, level, event) survive every shortening."""
    try:
        line = orjson.dumps(record, _plain, _OPTIONS)
    except TypeError:  # a lone surrogate, a giant integer, a key that is no string
        return _careful_json_line(record, redactor)
    if len(line) > LINE_CAP or not line.isascii() or b"\x7f" in line or redactor.touches(line):
        return _careful_json_line(record, redactor)
    return line


def text_line(
    stamp: str, level: str, event: str, fields: LogFields, redactor: Redactor, *, colour: bool = False
) -> bytes:
    """``HH:MM:SS level event key=value …``: values that are not one plain word are quoted and escaped as JSON is."""
    shown = f"{_COLOURS[level]}{level}{_RESET}" if colour else level
    line = _text(stamp, shown, event, fields)
    if redactor.touches(line):
        line = _text(stamp, shown, redactor.text(event), _clean(fields, redactor, _DEEPEST))
    if len(line) > LINE_CAP:
        kept = line[: LINE_CAP - len(_MARK.encode()) - 1].decode("utf-8", "ignore")
        line = f"{kept}{_MARK}\n".encode()
    return line


def _text(stamp: str, level: str, event: str, fields: LogFields) -> bytes:
    pairs = [f"{_text_value(name)}={_text_value(value)}" for name, value in fields.items() if value is not None]
    return (" ".join([stamp, level, _text_value(event), *pairs]) + "\n").encode("utf-8", "backslashreplace")


def _text_value(value: object) -> str:
    if not isinstance(value, str):
        if type(value) is int or type(value) is float:
            return str(value)
        value = json.dumps(_clean(value, None, _DEEPEST), ensure_ascii=False)
    if _BARE.fullmatch(value):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in quoted)


def _careful_json_line(record: LogFields, redactor: Redactor) -> bytes:
    own = dict(list(record.items())[:2])  # ts and level are ours and stay as they are
    clean = own | _clean({name: value for name, value in record.items() if name not in own}, redactor, _DEEPEST)
    line = _dump(clean)
    for longest in (1024, 256, 64):
        if len(line) <= LINE_CAP:
            return line
        line = _dump({name: _shortened(value, longest) for name, value in clean.items()} | {"truncated": True})
    if len(line) <= LINE_CAP:
        return line
    return _dump(own | {"event": _shortened(clean["event"], 64), "truncated": True})


def _dump(record: LogFields) -> bytes:
    line = orjson.dumps(record, option=_OPTIONS)
    return line if line.isascii() and b"\x7f" not in line else _UNSAFE.sub(_escaped, line)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def _shortened(value: object, longest: int) -> object:
    """A value cut to about ``longest`` characters; lists and mappings become the beginning of their JSON."""
    if not isinstance(value, str):
        if not isinstance(value, list | dict):
            return value
        text = orjson.dumps(value).decode()
        return value if len(text) <= longest else text[:longest] + _MARK
    return value if len(value) <= longest else value[:longest] + _MARK


def _plain(value: object) -> object:
    """A JSON-compatible form of a value JSON does not know. Unknown objects show their type only."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Decimal):
        return str(value)
    return f"<{type(value).__name__}>"


def _clean(value: Any, redactor: Redactor | None, depth: int) -> Any:
    """``value`` made of JSON types, with the secrets in its strings and numbers masked.

    ``redactor``: None masks nothing.
    ``depth``: levels left.
    """
    if isinstance(value, str):
        text = str(value).encode("utf-8", "backslashreplace").decode()
        return text if redactor is None else redactor.text(text)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if redactor is not None and redactor.touches(str(value).encode()):
            return MASK
        return value if isinstance(value, float) or -(2**53) < value < 2**53 else str(value)
    if isinstance(value, dict):
        if depth == 0:
            return _MARK
        return {str(_clean(name, redactor, 0)): _clean(each, redactor, depth - 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each, redactor, depth - 1) for each in value] if depth else _MARK
    return _clean(_plain(value), redactor, depth)
