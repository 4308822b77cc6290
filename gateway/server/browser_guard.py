"""The guard that keeps web pages away from a listener that asks for no key.

Any page that a person opens can send requests to that person's own machine, in two ways that need no CORS: a "simple"
request, whose answer the page cannot read but whose purchase it has made; and a name of the page's own that resolves to
127.0.0.1 (DNS rebinding), which makes the gateway the page's own server. Browsers give both away: the first carries
Origin, and Sec-Fetch-Site where it comes from another site; the second carries the foreign name as Host.

Where a key is asked for, none of this applies: a page does not know the key, and a browser sends one along only after
a preflight, which the gateway never grants (no answer has ``access-control-allow-origin``). Any Host will do there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache

from gateway.core.errors import ClientError
from gateway.core.headers import Header

_BUYS_NOTHING = frozenset(("GET", "HEAD", "OPTIONS"))


class BrowserGuard:
    """The guard of one listener.

    ``opened``: whether requests are answered without a key at this moment; a reload may change that.
    ``hosts``: names besides localhost and loopback addresses under which the listener may be called: the one it listens
    on, and those that the operator has configured.
    """

    def __init__(self, opened: Callable[[], bool], *hosts: str) -> None:
        self._opened = opened
        self._hosts = frozenset(host.lower() for host in hosts)

    def check(self, method: str, headers: Iterable[Header]) -> None:
        """Raise as ``refuse_pages`` does, while requests are answered without a key."""
        if self._opened():
            refuse_pages(method, headers, self._hosts)


def refuse_pages(method: str, headers: Iterable[Header], hosts: frozenset[str] = frozenset()) -> None:
    """Raise 403 ``foreign_origin`` for what a foreign page sent or what came under a foreign name.

    Raise 415 for what a page of this machine (Origin is loopback) sends as anything but ``application/json``: other
    programs here serve pages too, and any of them could have sent what needs no preflight, a body without a type
    included. Programs that are no browsers send no Origin: their bodies are taken under any type.

    ``headers``: names in lower case. ``hosts``: further names that are ours, in lower case.
    """
    content_type = b""
    from_page = False
    for name, value in headers:
        if name == b"host":
            host = _host(value)
            if not _is_loopback(host) and host not in hosts:
                raise _foreign("its Host is not a name of this machine")
        elif name == b"origin":
            from_page = True
            if not _is_local_origin(value):
                raise _foreign("its Origin is a page from elsewhere")
        elif name == b"sec-fetch-site":
            if value.lower() == b"cross-site":
                raise _foreign("its Sec-Fetch-Site says that another site sent it")
        elif name == b"content-type":
            content_type = value
    if from_page and method not in _BUYS_NOTHING and not _is_json(content_type):
        raise ClientError(
            415,
            "invalid_request_error",
            "unsupported_content_type",
            "A request with an Origin must say 'Content-Type: application/json', as long as no key is asked for.",
        )


def _foreign(reason: str) -> ClientError:
    return ClientError(
        403,
        "permission_error",
        "foreign_origin",
        f"The gateway asks for no key here, so it answers only programs of this machine, and this request may come "
        f"from a web page: {reason}. Call it as localhost, or set keys: 'keys' for the API, 'admin.key' for the admin "
        f"routes.",
    )


@lru_cache(maxsize=256)
def _host(value: bytes) -> str:
    """The host of ``host[:port]`` in lower case, without brackets and without the dot of the root."""
    text = value.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local_origin(value: bytes) -> bool:
    """Whether the Origin is a loopback page. ``null`` is none: pages from files and from sandboxed frames have it."""
    scheme, separator, rest = value.partition(b"://")
    return bool(separator) and scheme.lower() in (b"http", b"https") and _is_loopback(_host(rest))


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"
