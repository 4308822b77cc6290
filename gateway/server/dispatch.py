"""The ASGI application: finds the handler of a route, and answers for what it raises.

Hot routes are found by the raw path, exactly, ahead of everything. The others, and other spellings of the hot ones, are
looked up by paths.py. Starlette gives the requests and answers of ordinary routes; its router is not asked. Paths are
taken from the request line alone: a request's Host has no say (CVE-2026-48710).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.core.errors import ClientError, GatewayError, internal_error
from gateway.core.headers import Headers
from gateway.server.body import SenderGone
from gateway.server.browser_guard import AdminGuard, BrowserGuard
from gateway.server.cors import CrossOrigin
from gateway.server.downstream import Downstream
from gateway.server.headers import header
from gateway.server.paths import KnownRoute, RouteIndex, shown_path
from gateway.server.request_facts import STATUS_CLIENT_GONE, EndedRequest, facts_of

RouteHandler = Callable[[Scope, Receive, Downstream], Awaitable[None]]
"""What answers one route: through the Downstream, or by raising a GatewayError before it has answered."""

Known = KnownRoute[RouteHandler]


class Dispatch:
    """The routes of one listener.

    ``hot``: path → method → handler. ``routes``: Starlette's. ``on_crash``: called with the request id and every
    exception that is not meant for the client. ``guard``: looks at every request first; without one, the listener must
    always ask for a key. ``cors``: answers preflights; None where none is granted. ``secret``: prefixes of paths whose
    rest is a secret of its own: a guard leaves them alone. ``unlisted``: prefixes of paths that clients are not told.
    ``on_end``: told of the end of every request that no exchange counts, and of every one that was refused.
    """

    def __init__(
        self,
        hot: Mapping[str, Mapping[str, RouteHandler]],
        routes: Sequence[Route],
        on_crash: Callable[[str, Exception], None],
        guard: BrowserGuard | AdminGuard | None = None,
        cors: CrossOrigin | None = None,
        *,
        secret: tuple[str, ...] = (),
        unlisted: tuple[str, ...] = (),
        on_end: Callable[[EndedRequest], None] = lambda _: None,
    ) -> None:
        hot_routes = [KnownRoute(path, methods, path.startswith(secret)) for path, methods in hot.items()]
        ordinary = [KnownRoute(route.path, _handlers(route), route.path.startswith(secret)) for route in routes]
        self._hot = {route.path.encode("ascii"): route for route in hot_routes}
        self._index = RouteIndex([*hot_routes, *ordinary])
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = Downstream(scope, send)
        route: Known | None = None
        error: GatewayError | None = None
        status = 0
        began = asyncio.get_running_loop().time()
        try:
            route = self._hot.get(scope["raw_path"]) or self._find(scope)
            if self._guard is not None and (route is None or not route.secret):
                self._guard.check(scope["method"], scope["headers"])
            handler = None if route is None else route.methods.get(scope["method"])
            preflight = self._preflight(scope) if scope["method"] == "OPTIONS" else None
            if handler is not None and preflight is None:
                await handler(scope, receive, client)
            elif scope["method"] == "OPTIONS" and self._cors is not None:
                await self._tell_options(scope, client, route, preflight)
            elif route is not None:
                error, headers = self._wrong_method(scope, route)
                await client.error(error, headers)
            else:
                raise self._unknown_url(scope)
        except GatewayError as raised:
            error = raised.with_traceback(None)  # else it would refer to this frame, and the frame to it
            await client.fail(error, _attempts(scope, route))
        except (SenderGone, ClientDisconnect):
            status = STATUS_CLIENT_GONE
        except HTTPException as raised:
            error = ClientError(raised.status_code, "invalid_request_error", None, raised.detail)
            await client.fail(error)
        except Exception as crash:  # noqa: BLE001  # the one place: the client is told, the log has the rest
            self._on_crash(client.request_id, crash)
            error = internal_error()
            await client.fail(error)
        finally:
            facts = facts_of(scope)
            error = error or facts.error
            if error is not None or not facts.counted:
                self._tell_end(scope, client, route, error, status, asyncio.get_running_loop().time() - began)

    def _tell_end(
        self,
        scope: Scope,
        client: Downstream,
        route: Known | None,
        error: GatewayError | None,
        status: int,
        seconds: float,
    ) -> None:
        identifier = client.request_id
        if client.refusal is not None:  # the client was answered that, however the request ended here
            error, identifier = client.refusal
        if error is not None and (not client.started or client.refusal is not None):
            status = error.status
        self._on_end(
            EndedRequest(
                scope=scope,
                request_id=identifier,
                route=None if route is None else route.label,
                status=status or client.status or STATUS_CLIENT_GONE,
                facts=facts_of(scope),
                error=error,
                seconds=seconds,
            )
        )

    def _find(self, scope: Scope) -> Known | None:
        found = self._index.find(scope["raw_path"])
        if found is None:
            return None
        route, scope["path_params"] = found
        return route

    def _preflight(self, scope: Scope) -> Headers | None:
        """What a preflight is answered with; None if this is none, or no page may call."""
        return None if self._cors is None else self._cors.preflight(scope["headers"])

    async def _tell_options(
        self, scope: Scope, client: Downstream, route: Known | None, headers: Headers | None
    ) -> None:
        """Answer a preflight, on any path: the page must be able to read the 404. Else say what a route can do."""
        if headers is None:
            if route is None:
                raise self._unknown_url(scope)
            headers = (header("allow", ", ".join(sorted((*route.methods, "OPTIONS")))),)
        await client.send({"type": "http.response.start", "status": 204, "headers": headers})
        await client.send({"type": "http.response.body", "body": b""})

    def _unknown_url(self, scope: Scope) -> ClientError:
        meant = _meant(self._index.nearest(scope["raw_path"]))
        error = ClientError(
            404,
            "invalid_request_error",
            "unknown_url",
            f"There is no route {scope['method']} {shown_path(scope['raw_path'])} in this gateway.{meant}{self._there}",
        )
        error.detail = "there is no such route"  # the log shows the path beside it, as far as it may be shown
        return error

    def _wrong_method(self, scope: Scope, route: Known) -> tuple[ClientError, Headers]:
        """RFC 9110 §15.5.6: a 405 names what is allowed."""
        allowed = ", ".join(sorted(route.methods))
        # Who sends an order to the root has lost the end of the URL.
        there = self._there if route.path == "/" else ""
        nearest = self._index.nearest(scope["raw_path"])
        if nearest is not None and nearest is not route and scope["method"] in nearest.methods:
            there = _meant(nearest)
        error = ClientError(
            405,
            "invalid_request_error",
            "method_not_allowed",
            f"{scope['method']} is not possible on {shown_path(scope['raw_path'])}, only {allowed}.{there}",
        )
        error.detail = f"{scope['method']} is not possible here, only {allowed}"  # the path may hold a secret
        return error, (header("allow", allowed), *_attempts(scope, route))

    @property
    def _there(self) -> str:
        return f" There is: {', '.join(self.listed)}." if self.listed else ""


def _meant(nearest: Known | None) -> str:
    return f" Did you mean {' or '.join(nearest.listed)}?" if nearest is not None else ""


def _handlers(route: Route) -> dict[str, RouteHandler]:
    """The handlers of an ordinary route; Starlette adds HEAD to GET."""

    async def handle(scope: Scope, receive: Receive, client: Downstream) -> None:
        await route.app(scope, receive, client.send)

    return dict.fromkeys(route.methods or (), handle)


def _attempts(scope: Scope, route: Known | None) -> Headers:
    """The count of attempts, none, for an error on a route whose answers tell of attempts."""
    path = scope["raw_path"] if route is None else route.path.encode("ascii")
    return ((b"x-gateway-attempts", b"0"),) if path.startswith((b"/v1/", b"/api/")) else ()
