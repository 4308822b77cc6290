"""Who may look at the console: a browser with the cookie of a session, a program with the admin key as a Bearer token,
and where no admin key is set, this machine.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.console.forms import Form, read_form
from gateway.console.session import Session, Sessions, cookie_name, set_cookie, tokens_of
from gateway.core.errors import ClientError
from gateway.endpoints.admin.door import AdminDoor
from gateway.endpoints.sent_key import sent_key
from gateway.server.request import Request

FORM_TOKEN = "form_token"  # noqa: S105  # a field's name
"""The field of every form that changes or buys something."""

REFRESH = b"x-console-refresh"
"""The header of a page that a script loads anew: a tab that was left open must not go on for a day."""

MOST_SIGN_IN = 4096
"""Bytes of the form that has the admin key."""

_OWN_PAGE = re.compile(r"/console/[A-Za-z0-9/_.~%?=&+-]{1,500}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """``name``: for the audit log. ``form_token``: what forms must hold; empty where no key is asked for, as the guard
    keeps other pages away there (server/browser_guard.py). ``session``: None without one. ``cookie``: to be given with
    the answer, empty for none. ``secure``: whether the session's cookie goes by https alone.
    """

    name: str
    form_token: str = ""
    session: Session | None = None
    cookie: bytes = b""
    secure: bool = False


class ConsoleDoor:
    """``door``: of the admin routes. ``has_key``: whether an admin key is set at this moment."""

    def __init__(self, door: AdminDoor, sessions: Sessions, has_key: Callable[[], bool]) -> None:
        self._door = door
        self._sessions = sessions
        self._has_key = has_key

    async def visitor(self, request: Request) -> Visitor | None:
        """Who asks; None for a browser that has to sign in first. Raises GatewayError for a key that is wrong, as the
        admin API does. A session counts first: a proxy in front may have its own use for ``Authorization``.
        """
        session, secure = await self._session(request)
        if session is not None:
            request.admit()
            token = "" if REFRESH in request.fields else await self._sessions.renewed(session)
            cookie = _cookie(request, token, secure) if token else b""
            return Visitor("console, admin key", session.form_token, session, cookie, secure)
        if sent_key(request).value or not self._has_key():
            return Visitor(f"console, {self._door.enter(request)}")
        request.close_after_answer()
        return None

    async def sign_in(self, request: Request, form: Form) -> bytes:
        """Look at the admin key that the form holds. Returns the cookie. Raises 401, or 429 after too many that were
        wrong, as the admin API does.
        """
        if not self._has_key():  # a page from before a reload took the key away
            return b""
        self._door.check(request, form.get("key", "").strip().encode())
        return _cookie(request, await self._sessions.begin(), _by_https(request))

    def sign_out(self, request: Request, visitor: Visitor) -> bytes:
        """End the visitor's session. Returns what takes the cookie away."""
        if visitor.session is not None:
            self._sessions.end(visitor.session)
        return _cookie(request, "", visitor.secure)

    async def form(self, request: Request, visitor: Visitor) -> Form:
        """The fields of a form of ours. Raises 403 for one that was not made for this session, and as ``read_form``."""
        form = await read_form(request)
        if not hmac.compare_digest(form.get(FORM_TOKEN, "").encode(), visitor.form_token.encode()):
            raise ClientError(
                403,
                "permission_error",
                "foreign_form",
                "This form was not made for your session of the console, or the session has ended meanwhile. Open the "
                "page again, and send the form from there.",
            )
        return form

    async def _session(self, request: Request) -> tuple[Session | None, bool]:
        """The session, and whether its cookie goes by https alone."""
        for secure in (True, False):
            name = cookie_name(request.fields.get(b"host", b""), secure=secure)
            for token in tokens_of(request.fields.get(b"cookie", b""), name):
                if (session := await self._sessions.find(token)) is not None:
                    return session, secure
        return None, False


def own_page(path: str) -> str:
    """The path, if it is one of the console's pages; else the first page: a browser must not be led elsewhere."""
    return path if _OWN_PAGE.fullmatch(path) else "/"


def _by_https(request: Request) -> bool:
    """A browser that came by https names it in the Origin of its form; of a page that is opened it names none."""
    return request.fields.get(b"origin", b"").lower().startswith(b"https://")


def _cookie(request: Request, token: str, secure: bool) -> bytes:
    name = cookie_name(request.fields.get(b"host", b""), secure=secure)
    return set_cookie(name, token, secure=secure)
