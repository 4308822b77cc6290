"""Hosts and origins as requests name them: which are this machine, which pages are its own. Pure.

An Origin is what a browser says of the page that sends a request (RFC 6454); no page can make it say anything else.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_WEB = {b"http": b":80", b"https": b":443"}
"""The schemes of web pages, and the port that such an origin leaves out."""

_OF_PROGRAMS = frozenset((b"app", b"tauri", b"vscode-file"))
"""Schemes of pages that come with an installed program (Electron, Tauri, VS Code). No page of the web can have one."""

_LONGEST = 300
"""Bytes of a host with its port, and some to spare. What is longer is not looked at, nor remembered."""

_MACHINE = frozenset(("localhost", "host.docker.internal"))
"""Names that lead to this machine by definition; the second is its name inside a container."""


_INTERNAL = (".internal", ".local", ".lan", ".home.arpa", ".localdomain", ".svc")
"""Names under which nothing can be registered (RFC 6762, RFC 8375, ICANN's .internal), and a cluster's own."""


@lru_cache(maxsize=256)
def host_of(value: bytes) -> str:
    """The host of ``host[:port]`` in lower case, without brackets and without the dot of the root."""
    text = value.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


def is_this_machine(host: str) -> bool:
    """Whether a host (as ``host_of`` gives it) is this machine, without asking the network's DNS."""
    return host in _MACHINE or is_loopback(host)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """localhost, every name below it (RFC 6761), a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def is_address(host: str) -> bool:
    """Whether a host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_internal(host: str) -> bool:
    """Whether a name can mean something within one network only: it has no dot, or no registry has its top."""
    return bool(host) and ("." not in host or host.endswith(_INTERNAL))


def normal_origin(value: bytes) -> bytes:
    """An Origin as it is compared: in lower case, without the port that its scheme has anyway."""
    origin = value.strip().lower()
    usual = _WEB.get(origin.partition(b"://")[0])
    return origin.removesuffix(usual) if usual else origin


def is_origin_of(origin: bytes, host: bytes) -> bool:
    """Whether a page of this Origin was asked for under this Host (``name[:port]``). The scheme does not count: what is
    in front of a listener may have spoken TLS.
    """
    scheme, separator, place = normal_origin(origin).partition(b"://")
    usual = _WEB.get(scheme)
    return bool(separator) and usual is not None and place == host.strip().lower().removesuffix(usual)


def is_local_page(origin: bytes) -> bool:
    """Whether a page that this machine serves sent it. ``null`` is none: pages from files and sandboxed frames."""
    scheme, separator, rest = origin.partition(b"://")
    return bool(separator) and len(rest) < _LONGEST and scheme.lower() in _WEB and is_loopback(host_of(rest))


def is_program(origin: bytes) -> bool:
    """Whether a page of an installed program sent it."""
    scheme, separator, _ = origin.partition(b"://")
    return bool(separator) and scheme.lower() in _OF_PROGRAMS
