"""A strict reader of ``multipart/form-data`` (RFC 7578), which shares no code with the gateway's writer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))')
_PARAMETER = re.compile(r';\s*(name|filename)="([^"\r\n]*)"')
_DISPOSITION = "form-data"


@dataclass(frozen=True, slots=True)
class FormFile:
    """A part with a file name. ``name``: the field's; ``content_type``: as the part says it, "" if it does not."""

    name: str
    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """A form's parts in their order: fields with their text, and files."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[FormFile, ...]

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self.fields if key == name), None)


def is_form(content_type: bytes) -> bool:
    return content_type.lower().startswith(b"multipart/form-data")


def parse_form(content_type: bytes, body: bytes) -> Form:
    """The form in a body. Raises ValueError for all the RFC does not allow, text that is not UTF-8 included."""
    boundary = _BOUNDARY.search(content_type)
    if not is_form(content_type) or boundary is None:
        raise ValueError("no multipart/form-data with a boundary")
    opening, *parts = (b"\r\n" + body).split(b"\r\n--" + (boundary[1] or boundary[2]))
    if opening or not parts or parts.pop() not in (b"--", b"--\r\n"):
        raise ValueError("a form that does not begin and end with its boundary")
    fields: list[tuple[str, str]] = []
    files: list[FormFile] = []
    for part in parts:
        name, filename, part_type, data = _part(part)
        if filename is None:
            fields.append((name, data.decode()))
        else:
            files.append(FormFile(name, filename, part_type, data))
    return Form(tuple(fields), tuple(files))


def _part(part: bytes) -> tuple[str, str | None, str, bytes]:
    """Name, file name, content type and content of one part."""
    head, blank, data = part.partition(b"\r\n\r\n")
    if not blank or not head.startswith(b"\r\n"):
        raise ValueError("a part without a head")
    headers: dict[str, str] = {}
    for line in head[2:].decode().split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or name.lower() in headers:
            raise ValueError("a malformed or repeated header in a part")
        headers[name.lower()] = value.strip()
    disposition = headers.get("content-disposition", "")
    told = dict(_PARAMETER.findall(disposition))
    if not disposition.startswith(_DISPOSITION) or "name" not in told:
        raise ValueError("a part without a name")
    return told["name"], told.get("filename"), headers.get("content-type", ""), data
