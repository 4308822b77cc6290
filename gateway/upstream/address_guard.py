"""The guard on links: which may be followed, and to which addresses.

A link comes from an upstream's answer, and may have been planted there by the author of a prompt. It is read here by
one strict grammar, and the connection goes to what was read, so that no second parser can see another host in it.
Addresses are judged in the list the resolver returns, which is then connected to: a name whose addresses change in
between (DNS rebinding) is not resolved twice.

Two kinds of refusal differ in what becomes of the image. ``DangerousLink``: the link leads, or could be read as
leading, where no client should go (an address that is not public, this gateway itself, a user or a password before
the host, a scheme that is not the web's, characters that parsers treat differently); it is not handed on as the image.
Whatever else is not followed is plainly ``LinkRefused``: a host that is not listed, http, another port. Such a link
does no harm in other hands, and the image behind it is paid for, so its client gets the link.
"""

from __future__ import annotations

import re
import socket
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal
from urllib.parse import quote

from gateway.core.errors import LinkForbidden, ResultUnavailable, shorten
from gateway.core.types import Endpoint
from gateway.upstream.dialer import Address, Resolver

_LONGEST = 8192
"""Characters of a link; signed ones take one or two thousand."""

_UNSOUND = re.compile(r"[\x00-\x1f\x7f\\]")
"""Characters that parsers treat differently: browsers drop or convert them, RFC 3986 allows none of them. It does not
allow blanks either, but their meaning in a path is plain."""

_LINK = re.compile(r"(https?)://([^/?#]+)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}

ANY_HOST = "*"
"""The pattern of every host."""

_INSIDE = re.compile(r"[^.]+|(.+\.)?(localhost|local|internal|intranet|private|corp|home|lan|svc|home\.arpa)")
"""Names that mean something only inside a network, so that no look-up is needed to know it: single labels; what RFC
6761, RFC 8375 and ICANN (``internal``) set aside; what RFC 6762 (appendix G) knows in private use; Kubernetes'."""

# The ipaddress module's own ``is_global`` differs between patch releases of Python and lets through multicast,
# NAT64 and 6to4. This is IANA's registry of special-purpose IPv4 addresses, without what is plainly public.
_SPECIAL_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host, this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT; also a cloud's metadata (100.100.100.200)
        "127.0.0.0/8",
        "168.63.129.16/32",  # not IANA's: the virtual host of Azure, reachable from inside only
        "169.254.0.0/16",  # link-local; most clouds' metadata (169.254.169.254)
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; also a cloud's metadata (192.0.0.192)
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

_PUBLIC_V6 = IPv6Network("2000::/3")
"""The range that IANA assigns as global unicast. Outside: loopback, mapped (::ffff:0:0/96), NAT64 (64:ff9b::/96),
unique local (fc00::/7, with metadata at fd00:ec2::254), link-local, site-local, multicast."""

_SPECIAL_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo, which wraps an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which wraps an IPv4 address
        "3fff::/20",  # documentation
    )
)


class LinkRefused(ResultUnavailable):
    """The guard does not follow a link; trying again does not change that."""


class DangerousLink(LinkRefused, LinkForbidden):
    """The guard does not follow a link, which must not be handed on either."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A link that may be followed.

    ``target``: path and query, as they go on the wire.
    """

    endpoint: Endpoint
    target: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The places around this gateway that no link may make it ask.

    ``ports``: those that its listeners are on.
    ``names``: its own, as its clients know it.
    ``upstreams``: the hosts of the upstreams. They get requests with keys only, and none that an answer chose; but some
        serve their images themselves, so that one may be allowed by its very name in the list of hosts.
    """

    ports: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()


class AddressGuard:
    """The rules for links and addresses.

    ``hosts``: names that links may lead to; ``*.name`` stands for the name and every host below it, ``*`` for all.
    ``private``: also allow http, any port, upstreams' hosts and addresses that are not public; the names apply all the
        same, and this gateway's own listeners are not asked.
    ``is_ours``: whether an address is one of this machine.

    ``surroundings`` may be set anew at any time.
    """

    def __init__(self, hosts: Sequence[str], private: bool, is_ours: Callable[[str], bool] | None = None) -> None:
        names = [host.lower().rstrip(".") for host in hosts]
        self._any = ANY_HOST in names
        self._exact = frozenset(name.removeprefix("*.") for name in names)
        self._below = tuple(name[1:] for name in names if name.startswith("*."))
        self._named = frozenset(names)
        self._private = private
        self._is_ours = is_of_this_machine if is_ours is None else is_ours
        self.surroundings = Surroundings()

    def destination(self, link: str) -> Destination:
        """The destination of ``link``. Raises LinkRefused or DangerousLink, without repeating the link, which may be
        signed.
        """
        bare = link.strip(" ")
        read = None if _UNSOUND.search(bare) else _LINK.fullmatch(bare)
        if read is None:
            raise DangerousLink("the image's link is not a sound http or https URL")
        scheme: Literal["http", "https"] = "https" if read[1].lower() == "https" else "http"
        authority = _AUTHORITY.fullmatch(read[2])
        if authority is None or "@" in read[2]:
            raise DangerousLink("the image's link holds more, or less, than a host and a port before its path")
        host = _host(authority[1])
        port = int(authority[2] or _DEFAULT_PORTS[scheme])
        if not 0 < port < 65536:
            raise DangerousLink(f"the image's link names port {port} of {shorten(host)!r}")
        if not self._private:
            self._check_name(host)
        if not (self._any or host in self._exact or host.endswith(self._below)):
            raise LinkRefused(f"the image's host {shorten(host)!r} is not among images.fetch_hosts")
        if not self._private:
            self._check_place(scheme, host, port)
        if len(link) > _LONGEST or " " in link:
            raise LinkRefused(f"the image's link has blanks, or more than {_LONGEST} characters")
        origin = f"[{host}]" if ":" in host else host
        return Destination(Endpoint(f"{scheme}://{origin}:{port}", scheme, host, port), _target(read[3], read[4]))

    def _check_name(self, host: str) -> None:
        """Raise DangerousLink for what the written host alone gives away, whether or not it is listed."""
        if _is_address(host):
            self._check_address(host)
        elif _INSIDE.fullmatch(host):
            raise DangerousLink(f"the image's host {shorten(host)!r} is a name inside a network, not a public one")
        if host in self.surroundings.names:
            raise DangerousLink(f"the image's host {shorten(host)!r} is this gateway")

    def _check_place(self, scheme: str, host: str, port: int) -> None:
        if scheme == "http":
            raise LinkRefused("the image's link is not https")
        if port != 443:
            raise LinkRefused(f"the image's link names port {port} of {shorten(host)!r}")
        if host in self.surroundings.upstreams and host not in self._named:
            raise LinkRefused(
                f"the image's host {shorten(host)!r} is an upstream, and not by its name among fetch_hosts"
            )

    def _check_address(self, address: str, name: str = "") -> None:
        shown = f"the image's host {shorten(name or address)!r}"
        if not is_public(address):
            raise DangerousLink(f"{shown} has the address {address}, not a public one")
        if self._is_ours(address):
            raise DangerousLink(f"{shown} has the address {address}, which is this machine's")

    def guarding(self, resolve: Resolver) -> Resolver:
        """``resolve``, with DangerousLink raised for a name of which even one address may not be connected to."""

        async def guarded(host: str, port: int) -> list[Address]:
            addresses = await resolve(host, port)
            for _, where in addresses:
                if not self._private:
                    self._check_address(where[0], host)
                elif port in self.surroundings.ports and self._is_ours(where[0]):
                    raise DangerousLink(f"the image's host {shorten(host)!r} is this gateway")
            return addresses

        return guarded


def is_of_this_machine(address: str) -> bool:
    """Whether an address, as a resolver writes it, is one of this machine's own."""
    try:
        wanted = ip_address(address)
        if wanted.is_loopback or wanted.is_unspecified:
            return True
        family = socket.AF_INET if wanted.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 443))  # sends nothing; only a way to itself begins at the address it leads to
            return ip_address(probe.getsockname()[0]) == wanted
    except (OSError, ValueError):
        return False


def is_public(address: str) -> bool:
    """Whether an address, as a resolver writes it, is public."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _SPECIAL_V4)
    return parsed in _PUBLIC_V6 and not any(parsed in network for network in _SPECIAL_V6)


def _host(written: str) -> str:
    """A host in the one form used for comparing and connecting: lower case, ASCII, no dot at its end.

    A host that ends in a number must be an IPv4 address in its usual form. Others (127.1, 0x7f000001, 2130706433) are
    names to one parser and addresses to the next.
    """
    try:
        if written.startswith("["):
            return IPv6Address(written[1:-1]).compressed
        name = written.encode("idna").decode("ascii").lower().removesuffix(".")
        if _NUMBER.fullmatch(name.rpartition(".")[2]):
            return str(IPv4Address(name))
    except ValueError:  # includes UnicodeError and AddressValueError
        name = ""
    if not _NAME.fullmatch(name):
        raise DangerousLink("the image's link names no sound host")
    return name


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


def _target(path: str, query: str | None) -> str:
    try:
        # Only what is not ASCII is encoded: everything else stands as it was signed.
        return quote((path or "/") + (query or ""), safe=string.punctuation)
    except UnicodeError:
        raise DangerousLink("the image's link holds half a character") from None
