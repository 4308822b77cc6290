"""What a browser's form sends, as fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from gateway.core.errors import ClientError, invalid_request
from gateway.keys.fields import SETTINGS
from gateway.server.body import read_body
from gateway.server.request import Request
from gateway.wire.field_checks import wrong_value

MOST_FORM = 256 * 1024
"""Bytes of a form: a thousand models' names twice, as they are and as they were, or a long prompt."""

MOST_FIELDS = 40

_TYPE = b"application/x-www-form-urlencoded"

LIMITS = ("rpm", "tpm", "parallel")
"""Settings that are whole numbers."""

WAS = "was_"
"""Before the name of a field: what it held when the form was made."""

Form = Mapping[str, str]


async def read_form(request: Request, most: int = MOST_FORM) -> Form:
    """The fields of a form, by name; of several with one name the last. ``most``: bytes.

    Raises ClientError 400, 413 and 415.
    """
    kind = request.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != _TYPE:
        raise ClientError(
            415, "invalid_request_error", "unsupported_content_type", f"Send a form: 'Content-Type: {_TYPE.decode()}'."
        )
    body = await read_body(request, most, idle=5.0, total=15.0)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise invalid_request(
            "The form cannot be read: expected fields as a browser sends them, in UTF-8.", code="invalid_form"
        ) from None
    return dict(pairs)


def key_fields(form: Form) -> dict[str, object]:
    """A form's settings of a virtual key, as the admin API takes them (keys/fields.py); an empty field is null.

    ``models``: patterns, apart by commas or spaces. ``model_budgets``: a line ``PATTERN = AMOUNT/PERIOD`` each.
    ``alert``: percentages. Raises ClientError 400 for what is no number.
    """
    found: dict[str, object] = {}
    for name in SETTINGS:
        if name not in form:
            continue
        text = form[name].strip()
        if not text:
            found[name] = None
        elif name in LIMITS:
            found[name] = _number(text, name)
        elif name == "models":
            found[name] = _words(text)
        elif name == "alert":
            found[name] = [_number(word.removesuffix("%"), name) for word in _words(text)]
        elif name == "model_budgets":
            found[name] = _model_budgets(text)
        else:
            found[name] = text
    return found


def changed_fields(form: Form) -> dict[str, object]:
    """``key_fields`` of those fields that hold something else than they were made with (``was_…``), so that what is
    changed elsewhere meanwhile stays. Budgets by model that are not in the form any more are null.
    """
    fields = key_fields({name: text for name, text in form.items() if form.get(WAS + name) != text})
    if "model_budgets" in fields:
        before = _model_budgets(form.get(WAS + "model_budgets", ""))
        wanted = fields["model_budgets"]
        fields["model_budgets"] = {**dict.fromkeys(before), **(wanted if isinstance(wanted, dict) else {})}
    return fields


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise wrong_value(name, "expected a whole number")
    return int(text)


def _model_budgets(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        pattern, sign, budget = line.rpartition("=")  # a pattern may have one of its own
        if not sign:
            raise wrong_value("model_budgets", "expected a line such as 'gpt-4o* = 5/day' each")
        if (name := pattern.strip()) in found:
            raise wrong_value("model_budgets", f"'{name}' has two lines; give it one")
        found[name] = budget.strip()
    return found
