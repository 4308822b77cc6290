"""How hosts are connected to, as the file and the environment say: proxies, certificate authorities, certificates."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from gateway.config.addresses import parse_proxy
from gateway.config.layer import Layer
from gateway.config.paths import beside_file
from gateway.config.problems import Location
from gateway.config.upstream_schema import UpstreamSection
from gateway.core.connection_options import ConnectionOptions, Proxy, TLSFiles
from gateway.core.types import Endpoint
from gateway.runtime.tls import client_context

_MAX_PEM_BYTES = 4 * 1024**2
_FOR_ALL = ("all_proxy", "ALL_PROXY")
_FOR = {"https": ("https_proxy", "HTTPS_PROXY", *_FOR_ALL), "http": ("http_proxy", "HTTP_PROXY", *_FOR_ALL)}


class ConnectionSettings:
    """The part of a configuration that says how connections are made.

    ``environ``: the environment. ``folder``: what relative paths are relative to.
    """

    def __init__(self, user: Layer, environ: Mapping[str, str], folder: Path) -> None:
        self._user = user
        self._environ = environ
        self._folder = folder
        self._everywhere = TLSFiles()
        self._used = user.document.used("upstreams")
        if path := self._path(user.sections.ca_file):
            self._everywhere = self._read(("ca_file",), (path,))

    def connected(
        self, endpoints: Sequence[Endpoint], section: UpstreamSection, location: Location
    ) -> tuple[Endpoint, ...]:
        """The endpoints of one upstream with the options of their connections."""
        tls = self._tls(section, location)
        return tuple(
            replace(one, options=ConnectionOptions(self._proxy(section, one, location), tls, section.max_age))
            for one in endpoints
        )

    def outward(self, upstreams: Sequence[Endpoint]) -> ConnectionOptions:
        """How other hosts are connected to: those of images and webhooks.

        ``upstreams``: the endpoints of all of them, in order.
        """
        tls = self._everywhere
        if self._user.sections.proxy is None:
            return ConnectionOptions(next((one.options.proxy for one in upstreams if one.options.proxy), None), tls)
        return ConnectionOptions(self._chosen(self._user.sections.proxy, "https", "", 443, ("proxy",)), tls)

    def _path(self, given: str | None) -> str:
        return str(beside_file(given, self._folder)) if given else ""

    def _proxy(self, section: UpstreamSection, endpoint: Endpoint, location: Location) -> Proxy | None:
        whole = self._user.sections
        if bypasses([*whole.no_proxy, *section.no_proxy], endpoint.host, endpoint.port):
            return None
        given, place = (whole.proxy, ("proxy",)) if section.proxy is None else (section.proxy, (*location, "proxy"))
        return self._chosen(given, endpoint.scheme, endpoint.host, endpoint.port, place)

    def _chosen(
        self,
        given: Proxy | Literal["env", "none"] | None,
        scheme: Literal["http", "https"],
        host: str,
        port: int,
        location: Location,
    ) -> Proxy | None:
        if given == "env":
            return self._of_environment(scheme, host, port, location)
        return given if isinstance(given, Proxy) else None

    def _of_environment(
        self, scheme: Literal["http", "https"], host: str, port: int, location: Location
    ) -> Proxy | None:
        """The environment's proxy for a host; None for a host of this machine, and where NO_PROXY names the host."""
        if not self._used:
            return None
        excepted = self._environ.get("no_proxy") or self._environ.get("NO_PROXY") or ""
        if host and (_is_this_machine(host) or bypasses(excepted.split(","), host, port)):
            return None
        for name in _FOR[scheme]:
            if url := self._environ.get(name, "").strip():
                try:
                    return parse_proxy(url if "://" in url else f"http://{url}")
                except ValueError as error:
                    self._user.report(location, f"the environment variable {name}: {error}")
                    return None
        return None

    def _tls(self, section: UpstreamSection, location: Location) -> TLSFiles:
        own, certificate, key = (
            self._path(path) for path in (section.ca_file, section.client_cert, section.client_key)
        )
        if key and not certificate:
            self._user.report((*location, "client_key"), "is the key of a client_cert, which is missing")
        if own and not self._read((*location, "ca_file"), (own,)).digest:
            return TLSFiles()
        ca_files = tuple(dict.fromkeys((*self._everywhere.ca_files, *([own] if own else []))))
        if not ca_files and not certificate:
            return TLSFiles()
        return self._read((*location, "client_cert" if certificate else "ca_file"), ca_files, certificate, key)

    def _read(self, location: Location, ca_files: tuple[str, ...], certificate: str = "", key: str = "") -> TLSFiles:
        """The files, once they have proven usable; none, and a problem at ``location``, if they are not."""
        if not self._used:
            return TLSFiles()
        digest = hashlib.sha256()
        for path in (*ca_files, certificate, key):
            if path:
                try:
                    with Path(path).open("rb") as stream:
                        digest.update(stream.read(_MAX_PEM_BYTES))
                except OSError as error:
                    self._user.report(location, f"{path} cannot be read: {error.strerror}")
                    return TLSFiles()
        try:
            client_context(ca_files, certificate, key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or str(error)
            wanted = "certificate with its key" if certificate else "certificates of authorities"
            self._user.report(location, f"is no PEM file of {wanted} ({reason})")
            return TLSFiles()
        return TLSFiles(ca_files, certificate, key, digest.hexdigest())


def unused_proxy(environ: Mapping[str, str], *, used: bool) -> str:
    """The environment's variable that names a proxy although none is used; empty if there is none.

    ``used``: whether the configuration has any proxy, or says that there is none.
    """
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    return "" if used else next((name for name in names if environ.get(name, "").strip()), "")


def bypasses(excepted: Sequence[str], host: str, port: int) -> bool:
    """Whether one of ``excepted`` means the host, as NO_PROXY is commonly read: ``*`` for all; a name with everything
    below it, with or without a dot or ``*.`` before it; an address; a network; each perhaps with a port.
    """
    return any(_means(one.strip().lower(), host, port) for one in excepted)


def _means(exception: str, host: str, port: int) -> bool:
    if exception == "*":
        return True
    name, colon, only = exception.rpartition(":")
    if colon and only.isdigit() and (":" not in name or name.endswith("]")):
        if int(only) != port:
            return False
        exception = name
    exception = exception.removeprefix("[").removesuffix("]").removeprefix("*").removeprefix(".").removesuffix(".")
    if not exception:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exception, strict=False)
    except ValueError:
        return host == exception or host.endswith(f".{exception}")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
