"""Pages made of templates, and the headers that every answer of the console has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.console.reading import aside
from gateway.console.shown import FILTERS
from gateway.core.headers import Header, Headers
from gateway.endpoints.admin.paths import CONSOLE_STATIC

if TYPE_CHECKING:
    import jinja2

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

SECURITY: Headers = (
    (b"content-security-policy", _POLICY.encode("ascii")),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not 'no-referrer': under that, a browser says 'Origin: null' of our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What every answer of the console says to the browser."""

_HTML: Header = (b"content-type", b"text/html; charset=utf-8")
_NOT_KEPT: Header = (b"cache-control", b"no-store")
_KEPT: Header = (b"cache-control", b"private, max-age=3600")  # the name has the version in its query


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser is answered. ``cookie``: the value of ``Set-Cookie``; empty for none."""

    status: int
    headers: Headers
    body: bytes
    cookie: bytes = b""


async def page(name: str, code: int = 200, headers: Headers = (), /, **values: Any) -> Answer:
    """The page of a template. It is made in a thread: a list of five hundred keys takes long for the loop.

    ``code``: the HTTP status. ``values``: what the template shows; every text of it is escaped.
    """
    body = await aside(_render, name, values)
    return Answer(code, (*SECURITY, _HTML, _NOT_KEPT, *headers), body)


def to(place: str, cookie: bytes = b"") -> Answer:
    """303: the browser goes on to another page, with GET. ``place``: a path of the console's."""
    return Answer(303, (*SECURITY, _HTML, _NOT_KEPT, (b"location", place.encode("ascii"))), b"", cookie)


@cache
def static_file(name: str) -> Answer | None:
    """A file that pages refer to; None if there is none of that name."""
    kinds = {"console.css": b"text/css; charset=utf-8", "console.js": b"text/javascript; charset=utf-8"}
    kinds["icon.svg"] = b"image/svg+xml"
    if (kind := kinds.get(name)) is None:
        return None
    body = resources.files("gateway.console").joinpath("static", name).read_bytes()
    return Answer(200, (*SECURITY, (b"content-type", kind), _KEPT), body)


def _render(name: str, values: Mapping[str, Any]) -> bytes:
    return _templates().get_template(name).render(values).encode()


@cache
def _templates() -> jinja2.Environment:
    import jinja2  # here, in a thread: it takes 9 MiB, and most gateways never show a page

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gateway.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(version=__version__, static=CONSOLE_STATIC)
    environment.filters.update(FILTERS)
    return environment
