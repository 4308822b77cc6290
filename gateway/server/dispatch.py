"""The application: finds the handler of a route, and answers for what it raises.

A route without parameters is found by the raw path, exactly, ahead of everything. Other routes, and other spellings,
are looked up by paths.py. Routes may be Starlette's too (asgi.py), as the admin's are; its router is not asked. Paths
are taken from the request line alone: a request's Host has no say (CVE-2026-48710).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from gateway.core.errors import ClientError, GatewayError, internal_error
from gateway.core.headers import Headers
from gateway.server.asgi import serve_asgi
from gateway.server.browser_guard import AdminGuard, BrowserGuard
from gateway.server.client import Client
from gateway.server.cors import CrossOrigin
from gateway.server.headers import header
from gateway.server.paths import KnownRoute, RouteIndex, shown_path
from gateway.server.request import STATUS_CLIENT_GONE, Request, SenderGone

RouteHandler = Callable[[Request, Client], Awaitable[None]]
"""What answers one route: through the Client, or by raising a GatewayError before it has answered.

One with a method ``dress`` tells the Client by it how its own clients are told of errors, before a 405, too."""

OwnRoutes = Mapping[str, Mapping[str, RouteHandler]]
"""Path → method → handler. What answers GET answers HEAD, and a path may have parameters (paths.py)."""

Known = KnownRoute[RouteHandler]


class Dispatch:
    """The routes of one listener.

    ``own``: ours. ``routes``: Starlette's. ``on_crash``: called with the request id and every
    exception that is not meant for the client. ``guard``: looks at every request first; without one, the listener must
    always ask for a key. ``cors``: answers preflights; None where none is granted. ``secret``: prefixes of paths whose
    rest is a secret of its own: a guard leaves them alone. ``unlisted``: prefixes of paths that clients are not told.
    ``on_end``: told of the end of every request that no exchange counts, and of every one that was refused.
    """

    def __init__(
        self,
        own: OwnRoutes,
        routes: Sequence[Route],
        on_crash: Callable[[str, Exception], None],
        guard: BrowserGuard | AdminGuard | None = None,
        cors: CrossOrigin | None = None,
        *,
        secret: tuple[str, ...] = (),
        unlisted: tuple[str, ...] = (),
        on_end: Callable[[Request], None] = lambda _: None,
    ) -> None:
        ours = [KnownRoute(path, _with_head(methods), path.startswith(secret)) for path, methods in own.items()]
        ordinary = [KnownRoute(route.path, _handlers(route), route.path.startswith(secret)) for route in routes]
        self._exact = {route.path.encode("ascii"): route for route in ours if "{" not in route.path}
        self._index = RouteIndex([*ours, *ordinary])
        self._on_crash = on_crash
        self._guard = guard
        self._cors = cors
        self._on_end = on_end
        self.paths = frozenset(route.label for route in self._index)
        """The routes as metrics name them: ``/v1/models/{model}``."""
        self.listed = [line for route in self._index if not route.path.startswith(unlisted) for line in route.listed]
        """The routes as clients are told of them: ``POST /v1/chat/completions``."""

    def route_of(self, path: bytes) -> str | None:
        """The true spelling of the route that a raw path stands for; None if there is none."""
        found = self._index.find(path)
        return None if found is None else found[0].label

    async def __call__(self, request: Request, client: Client) -> None:
        method = request.method
        route: Known | None = None
        error: GatewayError | None = None
        status = 0
        try:
            route = self._exact.get(request.path) or self._find(request)
            if self._guard is not None and (route is None or not route.secret):
                self._guard.check(request)
            handler = None if route is None else route.methods.get(method)
            preflight = None if method != "OPTIONS" or self._cors is None else self._cors.preflight(request)
            if handler is not None and preflight is None:
                await handler(request, client)
            elif method == "OPTIONS" and self._cors is not None:
                await self._tell_options(request, client, route, preflight)
            elif route is not None:
                error, headers = self._wrong_method(request, route, client)
                await client.error(error, headers)
            else:
                raise self._unknown_url(request)
        except GatewayError as raised:
            error = raised.with_traceback(None)  # else it would refer to this frame, and the frame to it
            await client.fail(error, _attempts(request, route))
        except (SenderGone, ClientDisconnect):
            status = STATUS_CLIENT_GONE
        except HTTPException as raised:
            error = ClientError(raised.status_code, "invalid_request_error", None, raised.detail)
            await client.fail(error)
        except Exception as crash:  # noqa: BLE001  # the one place: the client is told, the log has the rest
            self._on_crash(request.id, crash)
            error = internal_error()
            await client.fail(error)
        finally:
            request.error = error or request.error
            if request.error is not None or not request.counted:
                self._tell_end(request, client, route, status)

    def _tell_end(self, request: Request, client: Client, route: Known | None, status: int) -> None:
        if client.refusal is not None:  # the client was answered that, however the request ended here
            request.error = client.refusal
        if request.error is not None and (not client.started or client.refusal is not None):
            status = request.error.status
        request.route = None if route is None else route.label
        request.status = status or client.status or STATUS_CLIENT_GONE
        request.seconds = request.connection.loop.time() - request.began
        self._on_end(request)

    def _find(self, request: Request) -> Known | None:
        found = self._index.find(request.path)
        if found is None:
            return None
        route, request.params = found
        return route

    async def _tell_options(
        self, request: Request, client: Client, route: Known | None, headers: Headers | None
    ) -> None:
        """Answer a preflight, on any path: the page must be able to read the 404. Else say what a route can do."""
        if headers is None:
            if route is None:
                raise self._unknown_url(request)
            headers = (header("allow", ", ".join(sorted((*route.methods, "OPTIONS")))),)
        await client.respond(204, headers, b"")

    def _unknown_url(self, request: Request) -> ClientError:
        meant = _meant(self._index.nearest(request.path))
        error = ClientError(
            404,
            "invalid_request_error",
            "unknown_url",
            f"There is no route {request.method} {shown_path(request.path)} in this gateway.{meant}{self._there}",
        )
        error.detail = "there is no such route"  # the log shows the path beside it, as far as it may be shown
        return error

    def _wrong_method(self, request: Request, route: Known, client: Client) -> tuple[ClientError, Headers]:
        """RFC 9110 §15.5.6: a 405 names what is allowed."""
        for handler in route.methods.values():
            if (dress := getattr(handler, "dress", None)) is not None:
                dress(client)
        allowed = ", ".join(sorted(route.methods))
        # Who sends an order to the root has lost the end of the URL.
        there = self._there if route.path == "/" else ""
        nearest = self._index.nearest(request.path)
        if nearest is not None and nearest is not route and request.method in nearest.methods:
            there = _meant(nearest)
        error = ClientError(
            405,
            "invalid_request_error",
            "method_not_allowed",
            f"{request.method} is not possible on {shown_path(request.path)}, only {allowed}.{there}",
        )
        error.detail = f"{request.method} is not possible here, only {allowed}"  # the path may hold a secret
        return error, (header("allow", allowed), *_attempts(request, route))

    @property
    def _there(self) -> str:
        return f" There is: {', '.join(self.listed)}." if self.listed else ""


def _meant(nearest: Known | None) -> str:
    return f" Did you mean {' or '.join(nearest.listed)}?" if nearest is not None else ""


def _with_head(methods: Mapping[str, RouteHandler]) -> Mapping[str, RouteHandler]:
    return {**methods, "HEAD": methods["GET"]} if "GET" in methods else methods


def _handlers(route: Route) -> dict[str, RouteHandler]:
    """The handlers of an ordinary route; Starlette adds HEAD to GET."""

    async def handle(request: Request, client: Client) -> None:
        await serve_asgi(route.app, request, client)

    return dict.fromkeys(route.methods or (), handle)


def _attempts(request: Request, route: Known | None) -> Headers:
    """The count of attempts, none, for an error on a route whose answers tell of attempts."""
    path = request.path if route is None else route.path.encode("ascii")
    return ((b"x-gateway-attempts", b"0"),) if path.startswith((b"/v1/", b"/api/")) else ()
