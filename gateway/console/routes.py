"""The console's routes, on the admin listener: ``/`` and what is below ``/console/``.

Every page is whole without a script. A form that changes or buys something holds its session's token. It is answered
with the way to a page (303), so that loading that again does nothing twice; only a key that was just made or rotated,
and the answer to a chat that was tried, are shown at once, as they are shown this once. Such a form that is sent again
is refused or joined: a name is given once, a form rotates once, and what a job was ordered for is bought once.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.console import jobs, keys, overview, requests, spending, try_box
from gateway.console.forms import Form, read_form
from gateway.console.pages import Answer, page, static_file, to
from gateway.console.source import ConsoleSource
from gateway.console.visitors import MOST_SIGN_IN, Visitor, own_page
from gateway.core.errors import ClientError, GatewayError, GatewayFault, StoreError
from gateway.endpoints.admin.paths import CONSOLE_STATIC
from gateway.server.client import Client
from gateway.server.dispatch import OwnRoutes, RouteHandler
from gateway.server.request import Request

Show = Callable[[ConsoleSource, Request, Visitor], Awaitable[Answer]]
"""Makes a page of what is asked for."""

Act = Callable[[ConsoleSource, Request, Visitor, Form], Awaitable[Answer]]
"""Does what a form wants."""

KEY = "/console/keys/{name}"


def console_routes(source: ConsoleSource) -> OwnRoutes:
    """All of them."""
    console = _Console(source)
    shows: dict[str, Show] = {
        "/": overview.show,
        "/console": _first,
        "/console/spend": spending.show,
        "/console/spend.csv": spending.table,
        "/console/requests": requests.show,
        "/console/jobs": jobs.show,
        "/console/jobs/{key}/{job_id}": jobs.show_one,
        "/console/jobs/{key}/{job_id}/pictures/{number}": jobs.show_picture,
        "/console/keys": keys.show,
        KEY: keys.show_one,
        "/console/try": try_box.show,
    }
    acts: dict[str, Act] = {
        "/console/keys": keys.create,
        KEY: keys.change,
        KEY + "/rotate": keys.rotate,
        KEY + "/revoke": keys.revoke,
        "/console/try": try_box.ask,
        "/console/sign-out": _sign_out,
    }
    routes: dict[str, dict[str, RouteHandler]] = {
        "/console/sign-in": {"POST": console.sign_in},
        CONSOLE_STATIC + "{name}": {"GET": console.static},
    }
    for path, show in shows.items():
        routes.setdefault(path, {})["GET"] = console.shows(show)
    for path, act in acts.items():
        routes.setdefault(path, {})["POST"] = console.acts(act)
    return routes


_SIGN_IN_PROBLEMS = {
    401: "That is not the admin key. It is 'admin.key' of the gateway's configuration, often GATEWAY_ADMIN_KEY.",
    429: "Too many wrong keys came from your address. Try again in {seconds} seconds.",
}
"""What the form says after a key that was not taken, by status."""

_OVER = (
    "Your session has ended, so nothing was done. Sign in, go back to the form, and send it again: a browser's Back, "
    "perhaps pressed twice, keeps what was typed."
)


class _Console:
    """The handlers."""

    def __init__(self, source: ConsoleSource) -> None:
        self._source = source

    def shows(self, show: Show) -> RouteHandler:
        """The handler of a page."""

        async def made(request: Request, visitor: Visitor) -> Answer:
            return await show(self._source, request, visitor)

        return self._for_visitors(made)

    def acts(self, act: Act) -> RouteHandler:
        """The handler of a form."""

        async def made(request: Request, visitor: Visitor) -> Answer:
            return await act(self._source, request, visitor, await self._source.door.form(request, visitor))

        return self._for_visitors(made)

    async def sign_in(self, request: Request, client: Client) -> None:
        wanted = "/"
        try:
            form = await read_form(request, MOST_SIGN_IN)
            wanted = own_page(form.get("next", ""))
            await _give(client, to(wanted, await self._source.door.sign_in(request, form)))
        except GatewayError as error:
            request.error = error.with_traceback(None)
            seconds = max(1, math.ceil(error.retry_after or 0))
            known = _SIGN_IN_PROBLEMS.get(error.status)
            problem = error.message if known is None else known.format(seconds=seconds)
            wait = () if error.retry_after is None else ((b"retry-after", b"%d" % seconds),)
            await _give(client, await page("sign_in.html", error.status, wait, problem=problem, wanted=wanted))

    async def static(self, request: Request, client: Client) -> None:
        if (found := static_file(request.params["name"])) is None:
            raise ClientError(404, "invalid_request_error", "unknown_url", "The console has no such file.")
        request.renew()
        await _give(client, found)

    def _for_visitors(self, made: Callable[[Request, Visitor], Awaitable[Answer]]) -> RouteHandler:
        async def handle(request: Request, client: Client) -> None:
            visitor = await self._source.door.visitor(request)
            if visitor is None:
                request.error = ClientError(401, "invalid_request_error", "invalid_api_key", "Sign in first.")
                reading = request.method in ("GET", "HEAD")
                wanted = own_page(request.target.decode("ascii")) if reading else "/"
                await _give(client, await page("sign_in.html", 401, problem="" if reading else _OVER, wanted=wanted))
                return
            try:
                answer = await made(request, visitor)
            except StoreError as error:
                request.error = GatewayFault(503, "service_unavailable_error", "ledger_unavailable", str(error))
                answer = await _problem(visitor, request.error)
            except GatewayError as error:
                request.error = error.with_traceback(None)
                answer = await _problem(visitor, error)
            await _give(client, answer if answer.cookie else replace(answer, cookie=visitor.cookie))

        return handle


async def _first(source: ConsoleSource, request: Request, visitor: Visitor) -> Answer:
    return to("/")


async def _sign_out(source: ConsoleSource, request: Request, visitor: Visitor, form: Form) -> Answer:
    return to("/", source.door.sign_out(request, visitor))


async def _problem(visitor: Visitor, error: GatewayError) -> Answer:
    return await page("problem.html", error.status, visitor=visitor, error=error)


async def _give(client: Client, answer: Answer) -> None:
    await client.respond(answer.status, answer.headers, answer.body, cookie=answer.cookie)
