"""A browser at the console of a rig: it opens pages, writes into their forms, and sends what those hold.

    async with at_console(rig) as browser:
        await browser.sign_in()
        form = (await browser.page("/console/keys")).form("/console/keys")
        answer = await browser.send(form, name="dora")

Whatever it is answered it holds against what every answer of the console promises.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2

from gateway.console.pages import SECURITY
from gateway.console.routes import console_routes
from gateway.console.session import cookie_name
from gateway.console.source import ConsoleSource
from tests.console.markup import Form, Page, unsafe

from .harness import Rig, eventually

ADMIN_KEY = "admin-0123456789abcdef-secret"
OTHER_ADMIN_KEY = "admin-of-another-day-0123456789"
LOCKED = f"admin: {{key: {ADMIN_KEY}}}"


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return None


def routes_of(method: str) -> list[str]:
    """The console's routes of a method, with something in place of their parameters; a new one is among them."""
    routes = console_routes(cast("ConsoleSource", _Anything()))
    return sorted(path.replace("{", "").replace("}", "") for path, methods in routes.items() if method in methods)


class Browser:
    """``origin``: of the listener, as it was asked for. ``client``: to send what no page of ours would. ``cookie``: the
    name of its cookie.
    """

    def __init__(self, rig: Rig, client: httpx2.AsyncClient) -> None:
        self.origin = rig.gateway.admin_url
        self.client = client
        self.cookie = cookie_name(self.origin.partition("://")[2].encode())

    async def open(self, path: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """What a link to this path brings."""
        return checked(await self.client.get(path, headers=headers))

    async def page(self, path: str, status: int = 200) -> Page:
        """The page that is there."""
        answer = await self.open(path)
        assert answer.status_code == status, answer.text
        return Page(answer.text)

    async def until_page(self, path: str, shows: Callable[[Page], bool]) -> Page:
        """The page once it shows something: the first one is made anew a second later at the earliest."""
        found: list[Page] = []

        async def read() -> bool:
            found[:] = [await self.page(path)]
            return shows(found[0])

        await eventually(read, f"a change of {path}")
        return found[0]

    async def send(self, form: Form, **fields: str) -> httpx2.Response:
        """Write into the fields of a form, send it, and look at what came, without being led on."""
        assert form.method == "post"
        assert fields.keys() <= form.fields.keys(), "a person can write into fields alone that there are"
        return await self.post(form.action, {**form.fields, **fields})

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> httpx2.Response:
        """What a page of the console sends; ``headers``: in place of those (``_`` for ``-``)."""
        usual = {"origin": self.origin, "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
        usual |= {name.replace("_", "-"): value for name, value in headers.items()}
        return checked(await self.client.post(path, data=dict(fields), headers=usual))

    async def follow(self, answer: httpx2.Response) -> Page:
        """Where a form that was taken leads."""
        assert answer.status_code == 303, answer.text
        assert answer.content == b""
        return await self.page(answer.headers["location"])

    async def sign_in(self, key: str = ADMIN_KEY, path: str = "/") -> httpx2.Response:
        """Write the admin key into the form that a page shows instead of itself."""
        return await self.send((await self.page(path, 401)).form("/console/sign-in"), key=key)

    async def make_key(self, **fields: str) -> str:
        """A new virtual key, as it is shown once."""
        answer = await self.send((await self.page("/console/keys")).form("/console/keys"), **fields)
        assert answer.status_code == 200, Page(answer.text).problem
        return shown_key(answer)


@asynccontextmanager
async def at_console(rig: Rig) -> AsyncIterator[Browser]:
    """A browser that has no cookie yet."""
    async with httpx2.AsyncClient(base_url=rig.gateway.admin_url, trust_env=False, timeout=20) as client:
        yield Browser(rig, client)


def checked(answer: httpx2.Response) -> httpx2.Response:
    """The answer, if it may be shown by a browser with no harm."""
    kind = answer.headers.get("content-type", "")
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if kind.startswith("application/json"):  # what is refused before the console is asked
        assert answer.status_code >= 400
        return answer
    for name, value in SECURITY:
        assert answer.headers.get_list(name.decode()) == [value.decode()], name
    if kind.startswith(("text/html", "text/csv", "image/png")):
        assert answer.headers["cache-control"] == "no-store"
        assert not kind.startswith("text/html") or unsafe(answer.text) == []
    return answer


def shown_key(answer: httpx2.Response) -> str:
    """The key that a page shows once."""
    key = answer.text.partition('id="made-key">')[2].partition("<")[0]
    assert key.startswith("gw-")
    return key
