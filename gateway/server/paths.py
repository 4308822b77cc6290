"""The paths of a listener's routes, and which of them a request's path stands for, however it is spelled. Pure.

Clients put base URL and path together in many ways: with ``/v1`` twice or not at all, with ``//`` between them, with a
slash at the end. A redirect would lose the body with some of them, so all these spellings are the route itself. Nothing
else is: case counts, dots are no directories, and what is percent-encoded is never part of a route's own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar
from urllib.parse import unquote

Segments = tuple[bytes, ...]
Handler = TypeVar("Handler")

_VERSION = b"v1"
_API = b"api"  # PiAPI's own routes have their version behind it
_COMPARED = 64
"""Characters of an unknown path that are compared with the known ones: the comparison's cost grows with the square."""
_SHOWN = 100
"""Characters of a path that are repeated to the client."""


def spelled_out(path: bytes) -> Segments:
    """The segments that tell routes apart: none that is empty, and no ``v1`` at the front or behind a front ``api``."""
    found = [segment for segment in path.split(b"/") if segment]
    start = _after_versions(found, 0)
    if found[start : start + 1] == [_API]:
        return (_API, *found[_after_versions(found, start + 1) :])
    return tuple(found[start:])


def shown_path(path: bytes) -> str:
    """A request's path as a message may repeat it: printable, at most 100 characters, then an ellipsis."""
    text = "".join(character if " " <= character <= "~" else "?" for character in path[:_SHOWN].decode("latin-1"))
    return text + "…" if len(path) > _SHOWN else text


@dataclass(frozen=True, slots=True)
class KnownRoute(Generic[Handler]):
    """One path of a listener. ``path``: its one true spelling, parameters in braces. ``methods``: method → handler.

    ``secret``: the rest of the path is a secret of its own.
    """

    path: str
    methods: Mapping[str, Handler]
    secret: bool = False

    @property
    def label(self) -> str:
        """The path as metrics and log name it: ``/v1/models/{model}``."""
        return self.path.replace(":path}", "}")

    @property
    def listed(self) -> list[str]:
        """``GET /v1/models``, one for each method; HEAD and OPTIONS go without saying."""
        return [f"{method} {self.label}" for method in sorted(self.methods) if method not in ("HEAD", "OPTIONS")]


class RouteIndex(Generic[Handler]):
    """The routes of a listener. A route without parameters comes before one with; no two may mean the same path.

    ``{name}`` is one segment; ``{name:path}``, at the end only, is all that is left. Where anything may come, as below
    ``/images/``, a ``/v1`` too many is not overlooked: ``/v1/images/…`` is another place.
    """

    def __init__(self, routes: Iterable[KnownRoute[Handler]]) -> None:
        self._routes = tuple(routes)
        self._plain: dict[Segments, KnownRoute[Handler]] = {}
        self._patterns: list[tuple[Segments, KnownRoute[Handler]]] = []
        for route in self._routes:
            segments = spelled_out(route.path.encode("ascii"))
            if any(map(_parameter, segments)):
                self._patterns.append((segments, route))
            elif segments in self._plain:
                raise ValueError(f"{route.path} and {self._plain[segments].path} are the same path")
            else:
                self._plain[segments] = route

    def __iter__(self) -> Iterator[KnownRoute[Handler]]:
        return iter(self._routes)

    def find(self, path: bytes) -> tuple[KnownRoute[Handler], dict[str, str]] | None:
        """The route that ``path`` (raw, without a query) stands for and its decoded parameters, or None."""
        segments = spelled_out(path)
        route = self._plain.get(segments)
        if route is not None:
            return route, {}
        version = _names_a_version(path)
        for pattern, route in self._patterns:
            if version and not route.path.startswith(("/v1/", "/api/")):
                continue
            parameters = _match(pattern, segments)
            if parameters is not None:
                return route, parameters
        return None

    def nearest(self, path: bytes) -> KnownRoute[Handler] | None:
        """The route that was probably meant by a path that is none, or None.

        First one that the path ends with or that ends with the path, then one spelled much like it.
        """
        segments = spelled_out(path)
        for mine, route in self._plain.items():
            short, long = sorted((mine, segments), key=len)
            if short and long[-len(short) :] == short:
                return route
        names = {_joined(mine): route for mine, route in self._plain.items() if mine}
        close = get_close_matches(_joined(segments)[:_COMPARED], names, n=1, cutoff=0.7)
        return names[close[0]] if close else None


def _names_a_version(path: bytes) -> bool:
    return path.lstrip(b"/").partition(b"/")[0] == _VERSION


def _after_versions(segments: list[bytes], start: int) -> int:
    while start < len(segments) and segments[start] == _VERSION:
        start += 1
    return start


def _parameter(segment: bytes) -> bool:
    return segment.startswith(b"{") and segment.endswith(b"}")


def _match(pattern: Segments, segments: Segments) -> dict[str, str] | None:
    """The parameters of ``segments``, decoded; None if they do not fit. A slash that was encoded splits nothing."""
    found: dict[str, str] = {}
    for index, mine in enumerate(pattern):
        if index >= len(segments):
            return None
        if not _parameter(mine):
            if mine != segments[index]:
                return None
            continue
        name, _, kind = mine[1:-1].decode("ascii").partition(":")
        if kind == "path":
            found[name] = _decoded(b"/".join(segments[index:]))
            return found
        found[name] = _decoded(segments[index])
        if "/" in found[name]:
            return None
    return found if len(pattern) == len(segments) else None


def _decoded(raw: bytes) -> str:
    return unquote(raw.decode("latin-1"))


def _joined(segments: Segments) -> str:
    return b"/".join(segments).decode("latin-1")
