"""A box to try a chat and a picture: what it sends goes the way of any client's request, and is paid for as that is."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

from gateway.console.forms import Form
from gateway.console.pages import Answer, page, to
from gateway.console.pictures import said
from gateway.console.shown import segment
from gateway.console.source import ConsoleSource, Reply
from gateway.console.visitors import Visitor
from gateway.core.errors import GatewayError
from gateway.core.types import ANONYMOUS
from gateway.server.request import Request
from gateway.wire.field_checks import wrong_value

CHAT, PICTURE = "/v1/chat/completions", "/v1/images/generations"

ORDER = "order"
"""The field that makes two sendings of one page's form one order: a button pressed twice, a page loaded again."""

_EMPTY: Form = {}

_KEY = re.compile(r"[\x21-\x7e]{0,200}")


async def show(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    """``GET /console/try``."""
    return await _page(source, visitor, _EMPTY)


async def ask(source: ConsoleSource, request: Request, visitor: Visitor, form: Form) -> Answer:
    """``POST /console/try``: a chat's answer, or the way to a picture's job."""
    model, prompt, key = (form.get(name, "").strip() for name in ("model", "prompt", "virtual_key"))
    picture = form.get("kind") == "picture"
    body: dict[str, Any] = {"model": model, "prompt": prompt}
    if not picture:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    try:
        if _KEY.fullmatch(key) is None:
            raise wrong_value("virtual_key", "that is no virtual key; one is a word such as gw-…")
        reply = await source.ask(PICTURE if picture else CHAT, key, body, _order_key(form, model, prompt))
    except GatewayError as error:
        request.error = error.with_traceback(None)
        return await _page(source, visitor, form, error=error)
    job = reply.headers.get("x-gateway-job")
    if picture and job and reply.status < 400:
        return to(f"/console/jobs/{segment(source.key_name(key) or ANONYMOUS)}/{segment(job)}")
    return await _page(source, visitor, form, reply)


async def _page(
    source: ConsoleSource, visitor: Visitor, form: Form, reply: Reply | None = None, error: GatewayError | None = None
) -> Answer:
    chats, pictures = source.models()
    problem = None
    if error is not None:
        problem = {"message": error.message, "code": error.code}
    elif reply is not None and reply.status >= 400:
        problem = _problem(reply)
    return await page(
        "try.html",
        200 if error is None else error.status,
        visitor=visitor,
        form={name: value for name, value in form.items() if name != "virtual_key"},
        chats=chats,
        pictures=pictures,
        keyless=source.keyless(),
        order=secrets.token_hex(16) if problem is None else form.get(ORDER, ""),
        reply=reply,
        text="" if reply is None else said(reply.document),
        problem=problem,
    )


def _order_key(form: Form, model: str, prompt: str) -> str:
    """The Idempotency-Key: another prompt on the same page is another order, and one that failed may be sent again."""
    return hashlib.sha256("\0".join((form.get(ORDER, ""), form.get("kind", ""), model, prompt)).encode()).hexdigest()


def _problem(reply: Reply) -> dict[str, Any]:
    error = (reply.document or {}).get("error")
    if not isinstance(error, dict):
        return {"message": f"HTTP {reply.status}", "code": None}
    return {"message": f"{reply.status}: {error.get('message')}", "code": error.get("code")}
