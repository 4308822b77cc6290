"""The ASGI application: finds the handler of a route, and answers for what it raises.

Hot routes are found by the raw path, exactly, ahead of everything. The others go through Starlette's router (not its
application, whose error handling speaks plain text). Paths are taken from the request line alone: a request's Host has
no say (CVE-2026-48710).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Router
from starlette.types import Receive, Scope, Send

from gateway.core.errors import ClientError, GatewayError, internal_error
from gateway.core.headers import Headers
from gateway.server.body import SenderGone
from gateway.server.browser_guard import BrowserGuard
from gateway.server.downstream import Downstream
from gateway.server.headers import header

RouteHandler = Callable[[Scope, Receive, Downstream], Awaitable[None]]
"""What answers one route: through the Downstream, or by raising a GatewayError before it has answered."""

_SHOWN = 200
"""Characters of a path that are repeated to the client."""


class Dispatch:
    """The routes of one listener.

    ``hot``: raw path → method → handler. ``routes``: Starlette's, with trailing slashes taken at their word.
    ``on_crash``: called with the request id and every exception that is not meant for the client. ``guard``: looks at
    every request first; without one, the listener must always ask for a key. ``unguarded``: prefixes of paths that a
    guard leaves alone, because the rest of such a path is a secret of its own.
    """

    def __init__(
        self,
        hot: Mapping[str, Mapping[str, RouteHandler]],
        routes: Sequence[BaseRoute],
        on_crash: Callable[[str, Exception], None],
        guard: BrowserGuard | None = None,
        unguarded: tuple[str, ...] = (),
    ) -> None:
        self._hot = {path.encode("ascii"): dict(methods) for path, methods in hot.items()}
        self._router = Router(routes, redirect_slashes=False, default=_unknown_url)
        self._on_crash = on_crash
        self._guard = guard
        self._unguarded = tuple(prefix.encode("ascii") for prefix in unguarded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = Downstream(scope, send)
        try:
            if self._guard is not None and not scope["raw_path"].startswith(self._unguarded):
                self._guard.check(scope["method"], scope["headers"])
            methods = self._hot.get(scope["raw_path"])
            if methods is None:
                scope["app"] = self  # makes Starlette raise its 405 instead of writing it
                await self._router(scope, receive, client.send)
            elif (handler := methods.get(scope["method"])) is not None:
                await handler(scope, receive, client)
            else:
                await client.error(*_wrong_method(scope, ", ".join(sorted(methods))))
        except GatewayError as error:
            await client.fail(error, _attempts(scope))
        except (SenderGone, ClientDisconnect):
            pass
        except HTTPException as error:
            if error.status_code == 405:
                await client.error(*_wrong_method(scope, (error.headers or {}).get("Allow", "")))
            else:
                await client.fail(ClientError(error.status_code, "invalid_request_error", None, error.detail))
        except Exception as crash:  # noqa: BLE001  # the one place: the client is told, the log has the rest
            self._on_crash(client.request_id, crash)
            await client.fail(internal_error())


def _attempts(scope: Scope) -> Headers:
    """The count of attempts, none, for an error on a route whose answers tell of attempts."""
    return ((b"x-gateway-attempts", b"0"),) if scope["raw_path"].startswith((b"/v1/", b"/api/")) else ()


async def _unknown_url(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["raw_path"].decode("ascii")[:_SHOWN]
    raise ClientError(
        404, "invalid_request_error", "unknown_url", f"There is no route {scope['method']} {path} in this gateway."
    )


def _wrong_method(scope: Scope, allowed: str) -> tuple[ClientError, Headers]:
    """RFC 9110 §15.5.6: a 405 names what is allowed."""
    path = scope["raw_path"].decode("ascii")[:_SHOWN]
    error = ClientError(
        405,
        "invalid_request_error",
        "method_not_allowed",
        f"{scope['method']} is not possible on {path}, only {allowed}.",
    )
    return error, (header("allow", allowed), *_attempts(scope))
