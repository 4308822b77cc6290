"""The guard that keeps web pages away from a listener that asks for no key.

Any page that a person opens can send requests to that person's own machine, in two ways that need no CORS: a "simple"
request, whose answer the page cannot read but whose purchase it has made; and a name of the page's own that resolves to
127.0.0.1 (DNS rebinding), which makes the gateway the page's own server. Browsers give both away: the first carries
Origin, and Sec-Fetch-Site where it comes from another site; the second carries the foreign name as Host.

Where a key is asked for, none of this applies: a page does not know the key, and a browser sends one along only after
a preflight, which is granted to listed pages only (cors.py). Any Host will do there. The admin listener is stricter: it
has its own pages alone to answer, whose cookie a browser sends along with what a foreign page asks, and one route that
may be open to all (AdminGuard).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from gateway.core.errors import ClientError
from gateway.core.headers import Header
from gateway.core.in_force import InForce
from gateway.server.cors import CrossOrigin, foreign_origin
from gateway.server.origins import host_of, is_address, is_internal, is_local_page, is_origin_of, is_this_machine
from gateway.server.request import Request

_BUYS_NOTHING = frozenset(("GET", "HEAD", "OPTIONS"))
_KEYS = frozenset((b"authorization", b"x-api-key", b"api-key"))
"""Headers that a page can send only after a preflight."""
_TOLD = _KEYS | {b"content-type", b"sec-fetch-site"}
_LOCAL, _TRUSTED = "local", "trusted"

_PAGES = b"/console"
"""What the console's pages are below, beside ``/`` itself."""


class GuardSettings(Protocol):
    """``hosts``: names besides those of ``is_this_machine`` by which a listener may be called, in lower case."""

    @property
    def hosts(self) -> Collection[str]: ...


class AdminGuardSettings(Protocol):
    """``admin_hosts``: the same of the admin listener. ``admin_key``: None or empty for none."""

    @property
    def admin_hosts(self) -> Collection[str]: ...
    @property
    def admin_key(self) -> str | None: ...


class BrowserGuard:
    """The guard of one listener.

    ``opened``: whether requests are answered without a key at this moment. ``cors``: the pages that may call all the
    same; None where only pages of this machine do.
    """

    def __init__(
        self, opened: Callable[[], bool], in_force: InForce[GuardSettings], cors: CrossOrigin | None = None
    ) -> None:
        self._opened = opened
        self._in_force = in_force
        self._cors = cors

    def check(self, request: Request) -> None:
        """Raise as ``refuse_pages`` does, while requests are answered without a key."""
        if self._opened():
            refuse_pages(request.method, request.headers, self._in_force.snapshot.hosts, self._cors)


class AdminGuard:
    """The guard of the admin listener.

    While it asks for no key, only what comes from this machine passes, as with a BrowserGuard. With a key the Host must
    still be a name that no foreign page can have, since ``/metrics`` may be open to all, and a write must not come from
    a foreign page: a browser has the cookie of the console (console/session.py), and no page may gain by it. The
    console's own pages, those whose Origin is the very Host that is asked, may do all that the console does; and a link
    from anywhere may lead a person to them, as its pages change nothing by being opened and stand in no other's frame.

    ``loopback``: whether only this machine reaches the listener.
    """

    def __init__(self, in_force: InForce[AdminGuardSettings], loopback: bool) -> None:
        self._in_force = in_force
        self._loopback = loopback

    def check(self, request: Request) -> None:
        """Raise as ``refuse_pages`` does."""
        method, settings, fields = request.method, self._in_force.snapshot, request.fields
        headers = [pair for pair in request.headers if not _is_own(pair, fields.get(b"host", b""))]
        if (
            (request.path == b"/" or request.path.startswith(_PAGES))
            and method in _BUYS_NOTHING
            and _opens_a_page(fields)
        ):
            headers = [pair for pair in headers if pair[0] != b"sec-fetch-site"]
        if not settings.admin_key:
            refuse_pages(method, headers, settings.admin_hosts)
            return
        for name, value in headers:
            if name == b"host" and not self._is_ours(host_of(value)):
                raise _foreign_host(_ADMIN, "")
        if method not in _BUYS_NOTHING:
            refuse_pages(method, ((name, value) for name, value in headers if name != b"host"), why=_ADMIN)

    def _is_ours(self, host: str) -> bool:
        """An address is no name, so no page can have one resolve to another. Names without a dot, or under a top
        that is no one's, are this network's: ``gateway:8401`` among containers. A listener of this machine alone has no
        use for them.
        """
        if is_this_machine(host) or is_address(host) or host in self._in_force.snapshot.admin_hosts:
            return True
        return not self._loopback and is_internal(host)


def refuse_pages(
    method: str,
    headers: Iterable[Header],
    hosts: Collection[str] = (),
    cors: CrossOrigin | None = None,
    *,
    why: str = "",
) -> None:
    """Raise 403 ``foreign_origin`` for what a foreign page sent or what came under a foreign name.

    Raise 415 for what a page of this machine (Origin is loopback) sends without a need for a preflight, which is any
    body but ``application/json`` without a key: other programs here serve pages too. A body without a type is included.
    Pages that ``cors`` trusts, and programs that are no browsers and send no Origin, may send any type.

    ``headers``: names in lower case. ``hosts``: further names that are ours, in lower case. ``why``: what the refusal
    begins with, in place of a sentence on the key that is not asked for.
    """
    pages = set()
    told: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"host":
            _check_host(value, hosts)
        elif name == b"origin":
            pages.add(_kind_of_page(value, cors, why))
        elif name in _TOLD:
            told[name] = value
    # To a browser http://localhost and http://127.0.0.1 are two sites, so the Origin counts for more.
    if not pages and told.get(b"sec-fetch-site", b"").lower() == b"cross-site":
        raise _foreign_page("its Sec-Fetch-Site says that another site sent it", cors, why)
    if _LOCAL in pages and method not in _BUYS_NOTHING and not _needed_a_preflight(told):
        raise ClientError(
            415,
            "invalid_request_error",
            "unsupported_content_type",
            f"{why}its Origin is another page of this machine.{_PROXY}"
            if why
            else "A request with an Origin must say 'Content-Type: application/json', as long as no key is asked for.",
        )


def _is_own(header: Header, host: bytes) -> bool:
    """Whether it is the Origin of a page that was asked for under this Host, which is still to be checked."""
    name, value = header
    return name == b"origin" and is_origin_of(value, host)


def _opens_a_page(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a browser opens it as a page of its own, not ahead of a person's wish: no script reads that answer."""
    opened = fields.get(b"sec-fetch-mode") == b"navigate" and fields.get(b"sec-fetch-dest") == b"document"
    return opened and b"sec-purpose" not in fields


def _check_host(value: bytes, hosts: Collection[str]) -> None:
    host = host_of(value)
    if not is_this_machine(host) and host not in hosts and value:  # an empty one passes for a missing one
        raise _foreign_host(_WHY, ", or set keys: 'keys' for the API, 'admin.key' for the admin routes")


def _kind_of_page(origin: bytes, cors: CrossOrigin | None, why: str) -> str:
    if cors is not None and cors.trusts(origin):
        return _TRUSTED
    if is_local_page(origin):
        return _LOCAL
    raise _foreign_page("its Origin is a page from elsewhere", cors, why)


def _needed_a_preflight(told: Mapping[bytes, bytes]) -> bool:
    content_type = told.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return content_type == b"application/json" or not _KEYS.isdisjoint(told)


_WHY = "The gateway asks for no key here, so it answers only this machine, and this request may come from a web page: "
_ADMIN = "The admin routes answer no web page but the console, and this request may come from one: "

_PROXY = " If it is the console's own, have the proxy in front pass on Host as the browser sent it, with its port."


def _foreign_host(why: str, else_: str) -> ClientError:
    return ClientError(
        403,
        "permission_error",
        "foreign_origin",
        f"{why}its Host is not a name of this machine. Call it as localhost, add the name to 'hosts' of the gateway's "
        f"configuration{else_}.",
    )


def _foreign_page(reason: str, cors: CrossOrigin | None, why: str) -> ClientError:
    if cors is not None:
        return foreign_origin(_WHY + reason)
    if why:
        return ClientError(403, "permission_error", "foreign_origin", f"{why}{reason}.{_PROXY}")
    return ClientError(
        403,
        "permission_error",
        "foreign_origin",
        f"{_WHY}{reason}. The admin routes answer no page but the console's own.{_PROXY}",
    )
