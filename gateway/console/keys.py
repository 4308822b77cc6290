"""Virtual keys: list, make, change, rotate, revoke. A key itself is shown once, in the answer that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.billing.usage import LATEST_NS
from gateway.console.forms import WAS, Form, changed_fields, key_fields
from gateway.console.pages import Answer, page, to
from gateway.console.shown import segment
from gateway.console.source import ConsoleSource
from gateway.console.visitors import Visitor
from gateway.core.defaults import ROTATION_GRACE
from gateway.core.errors import ClientError, GatewayError
from gateway.keys.service import ROTATED
from gateway.server.query import query_of
from gateway.server.request import Request

PAGE = 100

_KEYS = "/console/keys"

MADE = "made"
"""The field that says when the form was made, Unix nanoseconds."""

_EMPTY: Mapping[str, str] = {}


async def show(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/keys?name=&after=&revoked=yes``, all optional. ``name``: leads to that key, or to the names behind
    it.
    """
    query = query_of(request)
    if name := query.get("name", "").strip():
        try:
            await _key(source, name)
        except ClientError:
            query["after"] = name
        else:
            return to(f"{_KEYS}/{segment(name)}")
    return await _list(source, visitor, query)


async def create(source: ConsoleSource, request: Request, visitor: Visitor, form: Form) -> Answer:
    """``POST /console/keys``: a new key, which the answer shows."""
    try:
        made = await source.keys.create({"name": form.get("name", "").strip(), **key_fields(form)}, visitor.name)
    except GatewayError as error:
        request.error = error.with_traceback(None)
        return await _list(source, visitor, {}, form=form, error=error)
    return await page("key_made.html", visitor=visitor, key=made, act="made")


async def show_one(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/keys/{name}``: its settings, what it used, and what can be done to it."""
    return await _one(source, visitor, request.params["name"], saved=query_of(request).get("saved") == "yes")


async def change(source: ConsoleSource, request: Request, visitor: Visitor, form: Form) -> Answer:
    """``POST /console/keys/{name}``: those of its settings that the form has others of than it was made with, so that
    what is changed elsewhere meanwhile stays.
    """
    name = request.params["name"]
    try:
        await source.keys.change(name, changed_fields(form), visitor.name)
    except ClientError as error:
        request.error = error.with_traceback(None)
        return await _one(source, visitor, name, form=form, error=error)
    return to(f"{_KEYS}/{segment(name)}?saved=yes")


async def rotate(source: ConsoleSource, request: Request, visitor: Visitor, form: Form) -> Answer:
    """``POST /console/keys/{name}/rotate``: another key under its name, which the answer shows. A form that was made
    before the last rotation rotates nothing: sent twice, or loaded again, it would end the key that was just shown.
    """
    name = request.params["name"]
    grace = form.get("grace", "").strip()
    try:
        async with source.rotating:
            await _refuse_second(source, name, form)
            made = await source.keys.rotate(name, {"grace": grace} if grace else {}, visitor.name)
    except ClientError as error:
        request.error = error.with_traceback(None)
        return await _one(source, visitor, name, error=error)
    return await page("key_made.html", visitor=visitor, key=made, act="rotated")


async def _refuse_second(source: ConsoleSource, name: str, form: Form) -> None:
    """Raise 409 if the key was rotated since the form was made, as the audit log has it."""
    made = form.get(MADE, "")
    if not (made.isascii() and made.isdigit()):
        return
    since_ns = min(int(made[:19]), LATEST_NS)
    entries = await source.reading.of(lambda: source.reports.audit(since_ns))
    if any(entry.act == ROTATED and entry.subject == name for entry in entries):
        raise ClientError(
            409,
            "invalid_request_error",
            "key_rotated",
            "The key was rotated since this page was made, so it was not rotated again. The newest key was shown once, "
            "where that was done; to make another one, press the button below.",
        )


async def revoke(source: ConsoleSource, request: Request, visitor: Visitor, form: Form) -> Answer:
    """``POST /console/keys/{name}/revoke``: for good, so the form holds the name once more."""
    name = request.params["name"]
    if form.get("confirm", "").strip() != name:
        refused = ClientError(
            400,
            "invalid_request_error",
            "invalid_value",
            f"The key was not revoked: to revoke it for good, write its name, {name}, into the field.",
            param="confirm",
        )
        request.error = refused
        return await _one(source, visitor, name, error=refused)
    try:
        await source.keys.revoke(name, visitor.name)
    except ClientError as error:
        request.error = error.with_traceback(None)
        return await _one(source, visitor, name, error=error)
    return to(f"{_KEYS}/{segment(name)}")


async def _list(
    source: ConsoleSource,
    visitor: Visitor,
    query: Mapping[str, str],
    *,
    form: Form = _EMPTY,
    error: GatewayError | None = None,
) -> Answer:
    revoked = query.get("revoked") == "yes"
    after = query.get("after", "")
    listed = await source.reading.of(lambda: source.keys.listing.page(after, PAGE, include_revoked=revoked))
    return await page(
        "keys.html",
        200 if error is None else error.status,
        visitor=visitor,
        rows=listed["data"],
        after=listed["last"] if listed["has_more"] else None,
        revoked=revoked,
        form=form,
        error=error,
        teams=source.teams(),
    )


async def _one(
    source: ConsoleSource,
    visitor: Visitor,
    name: str,
    *,
    form: Form | None = None,
    error: GatewayError | None = None,
    saved: bool = False,
) -> Answer:
    key = await _key(source, name)
    return await page(
        "key.html",
        200 if error is None else error.status,
        visitor=visitor,
        key=key,
        form=as_form(key) if form is None else form,
        was=as_form(key) if form is None else {field: form.get(WAS + field, "") for field in as_form(key)},
        error=error,
        saved=saved,
        grace=ROTATION_GRACE,
        made=source.starts()[2],
        teams=source.teams(),
    )


async def _key(source: ConsoleSource, name: str) -> Mapping[str, Any]:
    return await source.reading.of(lambda: source.keys.listing.show(name))


def as_form(key: Mapping[str, Any]) -> Form:
    """A key's settings as the form has them; what ``key_fields`` reads again as the same."""
    budgets = [f"{pattern} = {one['budget']}" for pattern, one in key["model_budgets"].items()]
    texts = {name: key[name] for name in ("team", "budget", "rpm", "tpm", "parallel", "expires", "note")}
    return {
        **{name: "" if value is None else str(value) for name, value in texts.items()},
        "models": ", ".join(key["models"]),
        "model_budgets": "\n".join(budgets),
        "alert": ", ".join(map(str, key["alert"] or ())),
    }
