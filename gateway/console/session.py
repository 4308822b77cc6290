"""Sessions of the console: what the cookie holds that a browser is given for the admin key.

    <id, 16 random bytes>.<Unix seconds of its beginning>.<Unix seconds of its end>.<HMAC-SHA256 of these>

A session ends half an hour after its last page that a person opened, twelve hours after it began, where the browser
signs out, and with the admin key. Nothing else is kept of it, so any worker, any gateway with the same admin key and
the next start know it. A browser sends a machine's cookies to every port of it, so another server there may see one:
it must not hold the key, and guessing the key from it is made slow (scrypt, RFC 7914).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.console.reading import aside

NAME = "piapi_gateway_console"

IDLE = 30 * 60
"""Seconds for which a session goes on without a page that is looked at."""

LASTS = 12 * 3600
"""Seconds for which a session goes on at most: a working day."""

RENEWED_AFTER = 5 * 60
"""Seconds after which a page that is looked at brings a new token of the same session."""

MOST_ENDED = 1000
"""Sessions that are remembered as ended before their time."""

_TOKEN = re.compile(r"([0-9a-f]{32})\.(\d{1,12})\.(\d{1,12})\.([0-9a-f]{64})")
_SALT = b"piapi-gateway console"
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """``began``, ``ends``: Unix seconds. ``form_token``: what each of its forms holds, and no page elsewhere knows."""

    id: str
    began: int
    ends: int
    form_token: str


class Sessions:
    """``admin_key``: of this moment; empty for none, and then there are no sessions. ``wall_ns``: Unix nanoseconds."""

    def __init__(self, admin_key: Callable[[], str], wall_ns: Callable[[], int]) -> None:
        self._admin_key = admin_key
        self._wall_ns = wall_ns
        self._stretching = asyncio.Lock()
        self._stretched: tuple[str, bytes] = ("", b"")
        self._ended: OrderedDict[str, None] = OrderedDict()

    async def begin(self) -> str:
        """A new session's token."""
        now = self._now()
        return await self._token(secrets.token_hex(16), now, now + IDLE)

    async def find(self, token: str) -> Session | None:
        """The session of a token; None if it is none of ours, or is over."""
        parts = _TOKEN.fullmatch(token)
        if parts is None or not self._admin_key() or self._now() >= int(parts[3]) or parts[1] in self._ended:
            return None
        secret = await self._secret()
        if not hmac.compare_digest(parts[4], _mac(secret, token.rpartition(".")[0])):
            return None
        return Session(parts[1], int(parts[2]), int(parts[3]), _mac(secret, f"form {parts[1]}"))

    async def renewed(self, session: Session) -> str:
        """Another token of the session, good for longer; empty if it need not, or cannot, be."""
        ends = min(self._now() + IDLE, session.began + LASTS)
        return await self._token(session.id, session.began, ends) if ends - session.ends >= RENEWED_AFTER else ""

    def end(self, session: Session) -> None:
        """End it before its time, in this process."""
        self._ended[session.id] = None
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    async def _token(self, id: str, began: int, ends: int) -> str:
        said = f"{id}.{began}.{ends}"
        return f"{said}.{_mac(await self._secret(), said)}"

    async def _secret(self) -> bytes:
        """Stretched once for each key: before the first sign-in anyone may send what looks like a token."""
        async with self._stretching:
            key = self._admin_key()
            if self._stretched[0] != key:
                self._stretched = key, await aside(_stretch, key)
            return self._stretched[1]

    def _now(self) -> int:
        return self._wall_ns() // _NS


def cookie_name(host: bytes, *, secure: bool = False) -> str:
    """The cookie's name for a gateway that is called by this Host: cookies do not know ports, and a machine may have
    several gateways.

    ``secure``: whether it goes by https alone. The name says so, as a browser that sends it back tells nothing else of
    it, and keeps to it (RFC 6265bis, __Host-).
    """
    _, colon, port = host.rpartition(b":")
    name = f"{NAME}_{port.decode('ascii')}" if colon and port.isdigit() else NAME
    return f"__Host-{name}" if secure else name


def tokens_of(header: bytes, name: str) -> Iterator[str]:
    """The tokens of this name in a ``Cookie`` header: others on this machine may have set one of it, too."""
    for pair in header.decode("latin-1").split(";"):
        found, _, value = pair.partition("=")
        if found.strip() == name:
            yield value.strip()


def set_cookie(name: str, token: str, *, secure: bool) -> bytes:
    """The ``Set-Cookie`` that gives a browser a token; an empty one takes it away.

    ``secure``: whether the page came by https.
    """
    cookie = f"{name}={token}; Path=/; Max-Age={LASTS if token else 0}; HttpOnly; SameSite=Strict"
    return (cookie + "; Secure" if secure else cookie).encode("ascii")


def _mac(secret: bytes, said: str) -> str:
    return hmac.new(secret, said.encode(), hashlib.sha256).hexdigest()


def _stretch(key: str) -> bytes:
    """50 ms and 16 MiB for each guess."""
    return hashlib.scrypt(key.encode(), salt=_SALT, n=2**14, r=8, p=1, dklen=32)
