"""A request to a relayed route: what of it is acted on, checked, and how it is written for an upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.core.long_texts import dumps
from gateway.core.types import STEERING_FIELDS
from gateway.wire.default_model import with_default_model
from gateway.wire.field_checks import missing
from gateway.wire.form_data import Form, FormFile
from gateway.wire.relay_routes import AnswerForm, RelayRoute

CALLBACK = "webhook_config"
"""A callback of PiAPI's, which would be called on behalf of the gateway's own key: it goes to no upstream."""

_WITHHELD = (*STEERING_FIELDS, CALLBACK)

_ENDINGS = frozenset(
    {"aac", "aiff", "amr", "flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "opus", "wav", "webm", "wma"}
)
"""Endings of a recording's name that are passed on: OpenAI tells the kind of a file by it."""

_DOCUMENTS = (None, "", "json", "verbose_json", "diarized_json")
"""The forms of a transcript that are JSON."""

_BEGINNINGS = (
    (0, b"RIFF", "wav"),
    (0, b"ID3", "mp3"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"\x1aE\xdf\xa3", "webm"),
    (4, b"ftyp", "m4a"),
)


@dataclass(slots=True)
class RelayRequest:
    """A request that has been checked. It is shared by all attempts and never changed.

    ``fields``: of its document, or the text fields of its form, the last of each name.
    ``entries``: the text fields of a form in their order, ``files`` its files; neither has what is withheld.
    ``size``: bytes of the request. ``slow``: whether others would wait while it is worked on.
    ``withheld``: the names in it that go to no upstream but to those that are configured to get them.
    """

    route: RelayRoute
    model: str
    fields: Mapping[str, Any] = field(repr=False)
    size: int
    slow: bool = False
    entries: Sequence[tuple[str, str]] = field(default=(), repr=False)
    files: Sequence[FormFile] = ()
    withheld: tuple[str, ...] = ()

    @property
    def answered(self) -> AnswerForm:
        return self.route.form_of(self.fields)

    @property
    def is_bare(self) -> bool:
        """Whether nothing may stand around the answer: a sound, or a text that is no JSON."""
        return self.answered is AnswerForm.BYTES or (self.answered is AnswerForm.WHOLE and self.wants_text)

    @property
    def wants_text(self) -> bool:
        """Whether a transcript is asked for in a form that is no JSON, or may be none."""
        return self.route.is_text and self.fields.get("response_format") not in _DOCUMENTS

    @property
    def asks_for_usage(self) -> bool:
        """Whether the client wants a stream's usage."""
        options = self.fields.get("stream_options")
        return isinstance(options, dict) and bool(options.get("include_usage"))


def parse_document(
    route: RelayRoute, document: dict[str, Any], size: int, defaults: Mapping[str, str], *, slow: bool = False
) -> RelayRequest:
    """Check a client's JSON. ``defaults``: kind of request → the model of one that names none.

    Raises ClientError 400 with ``param`` naming the field.
    """
    fields = _with_model(route, document, defaults)
    return _checked(RelayRequest(route, fields["model"], fields, size, slow, withheld=_withheld(fields)))


def parse_relayed_form(route: RelayRoute, form: Form, size: int, defaults: Mapping[str, str]) -> RelayRequest:
    """Check a client's form. Raises as ``parse_document`` does."""
    fields = _with_model(route, dict(form.fields), defaults)
    names = tuple(name for name in _WITHHELD if any(_top(entry) == name for entry, _ in form.fields))
    entries = [(name, text) for name, text in form.fields if name != "model"]
    request = RelayRequest(route, fields["model"], fields, size, size > _LONG_FORM, entries, form.files, names)
    return _checked(request)


_LONG_FORM = 256 * 1024


def upstream_document(request: RelayRequest, model: str, passed: Set[str], *, ask_usage: bool) -> bytes:
    """The document for an upstream.

    ``model``: the upstream's name of it. ``passed``: withheld fields that it is configured to get. ``ask_usage``: for a
    stream's usage although the client did not.
    """
    left_out = ignored(request, passed)
    body = {name: value for name, value in request.fields.items() if name not in left_out}
    body["model"] = model
    if ask_usage:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return dumps(body) if request.slow else orjson.dumps(body)


def upstream_form(request: RelayRequest, model: str, passed: Set[str], boundary: str) -> bytes:
    """The form for an upstream. ``boundary``: the client must not be able to guess it."""
    left_out, mark = ignored(request, passed), boundary.encode()
    pieces: list[bytes] = []
    for name, text in [*request.entries, ("model", model)]:
        if _top(name) not in left_out:
            pieces += (b"--", mark, b'\r\ncontent-disposition: form-data; name="', _quoted(name), b'"\r\n\r\n')
            pieces += (text.encode("utf-8", "replace"), b"\r\n")
    for file in request.files:
        ending = _ending(file)
        pieces += (b"--", mark, b'\r\ncontent-disposition: form-data; name="', _quoted(file.name))
        pieces += (f'"; filename="audio.{ending}"\r\n'.encode(), b"content-type: application/octet-stream\r\n\r\n")
        pieces += (file.data, b"\r\n")
    return b"".join([*pieces, b"--", mark, b"--\r\n"])


def ignored(request: RelayRequest, passed: Set[str]) -> tuple[str, ...]:
    """The withheld names that an upstream does not get."""
    return tuple(name for name in request.withheld if name not in passed or name == CALLBACK)


def _with_model(route: RelayRoute, fields: dict[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    model = fields.get("model")
    if model is not None and model != "":
        return fields
    if route.default_model:
        return {**fields, "model": route.default_model}
    if not route.default_kind:
        raise missing("model")
    return with_default_model(fields, defaults, route.default_kind)


def _checked(request: RelayRequest) -> RelayRequest:
    for name, check in request.route.checks.items():
        value = request.fields.get(name)
        if value is not None:
            check(value, name)
    return request


def _withheld(fields: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _WITHHELD if name in fields)


def _top(name: str) -> str:
    """The field that a form's name belongs to: ``provider`` of ``provider[order][]``."""
    return name.partition("[")[0]


def _quoted(name: str) -> bytes:
    """A client's name of a field inside quotation marks; no character of it ends them nor the header."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode("utf-8", "replace")


def _ending(file: FormFile) -> str:
    """What an upstream tells the kind of a recording by: as its client says, else by its first bytes."""
    if file.ending in _ENDINGS:
        return file.ending
    found = (ending for at, mark, ending in _BEGINNINGS if file.data[at : at + len(mark)] == mark)
    return next(found, "mp3" if file.data[:1] == b"\xff" else "bin")
