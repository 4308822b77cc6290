"""The parsers of addresses in the file: listeners, upstream endpoints, stores, links, host names."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from gateway.config.odd_values import names_a_route, odd_address
from gateway.config.values import text
from gateway.core.connection_options import Proxy
from gateway.core.types import Endpoint

_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_PATH = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@%-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where a listener listens.

    ``host``: without brackets.
    ``port``: 0 means any free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = _address(self.host)
        return self.host == "localhost" if address is None else address.is_loopback

    def overlaps(self, other: HostPort) -> bool:
        """Whether the two listeners cannot exist at the same time."""
        if self.port != other.port or self.port == 0:
            return False
        return self.host == other.host or any(_is_any(host) for host in (self.host, other.host))


def host_port(value: object) -> HostPort:
    """``127.0.0.1:8400``, ``[::1]:8400``, ``localhost:8400``."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or not _is_host(bare.lower()):
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:8400 or [::1]:8400")
    if (":" in bare) != bracketed:
        raise ValueError("expected an IPv6 address in brackets, such as [::1]:8400")
    return HostPort(bare.lower(), int(port))


def endpoint(value: object) -> Endpoint:
    """An upstream's URL: http or https, a host, optionally a port and a path; nothing else."""
    split = _web_address(value, "https://api.piapi.ai")
    scheme: Literal["http", "https"] = "https" if split.scheme == "https" else "http"
    host = split.hostname or ""
    port = split.port or _DEFAULT_PORTS[scheme]
    path = split.path.rstrip("/")
    if names_a_route(path):
        raise ValueError(
            "ends with a route, which is added to it; write the address before that (a final /v1 may stay)"
        )
    return Endpoint(url=_origin(scheme, host, port) + path, scheme=scheme, host=host, port=port, base_path=path)


def without_suffix(given: Endpoint, suffix: str) -> Endpoint:
    """The endpoint with ``suffix`` removed from its path, if the path ends with it."""
    if not given.base_path.endswith(suffix):
        return given
    path = given.base_path[: -len(suffix)].rstrip("/")
    url = _origin(given.scheme, given.host, given.port) + path
    return Endpoint(url=url, scheme=given.scheme, host=given.host, port=given.port, base_path=path, wall=given.wall)


def link(value: object) -> str:
    """An http or https URL of this gateway or of a receiver, without a slash at its end; or empty."""
    if value == "":
        return ""
    split = _web_address(value, "https://gateway.example.com", query=True)
    return split.geturl().rstrip("/")


def collector(value: object) -> str:
    """The base URL of a telemetry collector, http or https, without a slash at its end; or empty."""
    return "" if value == "" else _web_address(value, "http://localhost:4318").geturl().rstrip("/")


def receiver(value: object) -> str:
    """The URL of a webhook's receiver: https, or http on this machine."""
    split = _web_address(value, "https://hooks.example.com/jobs", query=True)
    host = split.hostname or ""
    address = _address(host)
    here = host == "localhost" or host.endswith(".localhost") or (address is not None and address.is_loopback)
    if split.scheme != "https" and not here:
        raise ValueError("expected https: what goes to another machine in the clear can be read on the way")
    return split.geturl()


def host_pattern(value: object) -> str:
    """A host name; ``*.`` before it stands for every host below it, ``*`` alone for every host."""
    host = value.lower() if isinstance(value, str) else ""
    if host != "*" and not _is_host(host.removeprefix("*.")):
        raise ValueError("expected a host name without scheme, port or path, such as *.theapi.app, or *")
    return str(host)


def host_name(value: object) -> str:
    """A host's name or address, in lower case, without brackets and without the dot of the root."""
    host = value.strip().lower() if isinstance(value, str) else ""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    host = host.removesuffix(".")
    if not _is_host(host):
        raise ValueError("expected a host name or address without scheme, port or path, such as gateway.example.com")
    return host


def origin(value: object) -> str:
    """A page's origin as browsers write it: ``https://app.example.com``, ``http://10.0.0.5:3000``, ``app://name``.

    In lower case, without the port that the scheme has anyway. Neither ``*`` nor ``null`` is one: they would let in
    pages that are not listed.
    """
    expected = "expected an origin, SCHEME://HOST or SCHEME://HOST:PORT without a path, such as https://app.example.com"
    if value in ("*", "null"):
        raise ValueError(f"lists the pages one by one, so '*' and 'null' are not possible; {expected}")
    match = _ORIGIN.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(expected)
    scheme, host, port = match[1], match[2], match[3]
    if not _is_host(host.removeprefix("[").removesuffix("]")) or (port is not None and not 0 < int(port) < 65536):
        raise ValueError(expected)
    return (
        f"{scheme}://{host}" if port is None or int(port) == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}:{port}"
    )


ENCODED = "; in a password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A and % as %25"
"""For one whose URL does not come apart as it should."""


def store(value: object) -> str:
    """``sqlite:///file`` (relative), ``sqlite:////file`` (absolute) or ``postgresql://…``."""
    url = text(value)
    if url.startswith("sqlite:///") and len(url.strip()) > len("sqlite:///") and not url.endswith("/"):
        return url
    if url.startswith(("postgresql://", "postgres://")) and _splits(url):
        return url
    hint = ENCODED if url.startswith(("postgresql://", "postgres://")) else ""
    raise ValueError(
        f"expected sqlite:///FILE, sqlite:////ABSOLUTE/FILE or postgresql://USER:PASSWORD@HOST/DATABASE{hint}"
    )


_SERVERS = ("redis", "rediss", "redis+cluster", "rediss+cluster")


def shared_state(value: object) -> str:
    """``memory://``, or where Redis or Valkey is: ``redis://host:port/db`` (``rediss://`` with TLS), ``unix:///file``,
    ``redis+sentinel://host:port,host:port/service/db``, ``redis+cluster://host:port``; with TLS those begin with
    ``rediss+``.
    """
    url = text(value)
    scheme, found, rest = url.partition("://")
    if url == "memory://" or (scheme == "unix" and rest.startswith("/") and len(rest) > 1):
        return url
    if found and scheme in ("redis+sentinel", "rediss+sentinel"):
        places, _, path = rest.rpartition("@")[2].partition("/")
        if path.strip("/") and all(
            _splits(f"//{place}") and urlsplit(f"//{place}").port for place in places.split(",")
        ):
            return url
    elif found and scheme in _SERVERS and _splits(url) and urlsplit(url).hostname:
        return url
    raise ValueError(f"expected memory:// or redis://HOST:6379/0{ENCODED if found and '@' in rest else ''}")


def proxy(value: object) -> Proxy | Literal["env", "none"]:
    """``http://proxy.example.com:3128``, perhaps with ``USER:PASSWORD@`` before the host; ``env`` for the
    environment's; ``none``, or empty, for no proxy.
    """
    if value == "env":
        return "env"
    return "none" if value in ("", "none") else parse_proxy(value)


def parse_proxy(value: object) -> Proxy:
    """An HTTP proxy's URL. The port is 80 where none is given. The message never repeats the URL, which may hold a
    password.
    """
    expected = "expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT of an HTTP proxy, env or none"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not _splits(value):
        raise ValueError(expected)
    split = urlsplit(value)
    if split.scheme not in ("http", ""):
        raise ValueError(f"only proxies that are asked by plain http are possible, not {split.scheme}; {expected}")
    host = split.hostname or ""
    if split.scheme != "http" or not _is_host(host) or split.port == 0 or split.path not in ("", "/") or split.query:
        raise ValueError(expected)
    user, password = unquote(split.username or ""), unquote(split.password or "")
    login = base64.b64encode(f"{user}:{password}".encode()).decode("ascii") if user or password else ""
    return Proxy(host, split.port or 80, f"Basic {login}" if login else "")


def network(value: object) -> str:
    """``10.0.0.0/8``, ``fd00::/8``, or a single address, in its normal form."""
    try:
        return str(ipaddress.ip_network(str(value).strip()))
    except ValueError:
        raise ValueError("expected an address or a network, such as 127.0.0.1 or 10.0.0.0/8") from None


def passwords(url: str) -> frozenset[str]:
    """The password inside a URL, as written and decoded."""
    password = urlsplit(url).password
    return frozenset({password, unquote(password)} if password else ())


def _web_address(value: object, example: str, *, query: bool = False) -> SplitResult:
    expected = f"expected an http or https URL such as {example}"
    if isinstance(value, str) and (odd := odd_address(value)):
        raise ValueError(f"{odd}; {expected}")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError(expected)
    if not _splits(value):
        raise ValueError(expected)
    split = urlsplit(value)
    if split.scheme not in _DEFAULT_PORTS or not split.hostname or not _is_host(split.hostname) or split.port == 0:
        raise ValueError(expected)
    if "@" in split.netloc:
        raise ValueError("a URL here holds no user or password; keys have a place of their own")
    if split.fragment or "#" in value or (not query and "?" in value):
        raise ValueError("the URL must end with its path: no '?' and no '#'")
    if not _PATH.fullmatch(split.path):
        raise ValueError(expected)
    return split


def _splits(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.port is None or parts.port >= 0
    except ValueError:
        return False


def _origin(scheme: str, host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{shown}:{port}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_any(host: str) -> bool:
    address = _address(host)
    return address is not None and address.is_unspecified


def _is_host(host: str) -> bool:
    if _address(host) is not None:
        return "%" not in host
    # A last label of digits only would be taken for an address by some resolvers and for a name by others.
    return _HOST_NAME.fullmatch(host) is not None and not host.rstrip(".").rpartition(".")[2].isdigit()
