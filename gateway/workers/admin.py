"""The one admin listener of all workers. Metrics are made here of what all of them count; a reload is done by one after
the other; everything else is asked of a worker that lives, and so is whether a request may be made at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import orjson

from gateway.app.status import of_all
from gateway.core.errors import ClientError, GatewayError, GatewayFault
from gateway.endpoints.admin.paths import CONSOLE_STATIC, METRICS_PATH, RELOAD_PATH, UPSTREAMS_PATH
from gateway.runtime.in_turns import in_turns
from gateway.runtime.tasks import TrackedTasks
from gateway.server.client import Client
from gateway.server.paths import KnownRoute, RouteIndex
from gateway.server.request import Request
from gateway.workers.passing_on import NoAnswer, WorkerAnswer, pass_on
from gateway.workers.process import Worker
from gateway.workers.scrape import Scrape

_OPEN_TO_ALL = CONSOLE_STATIC.encode("ascii")


def no_worker() -> GatewayFault:
    """No worker lives at this moment."""
    return GatewayFault(
        503,
        "service_unavailable_error",
        "no_worker",
        "No worker of this gateway serves at present. They are started again; try again shortly, and look at its log.",
        retry_after=1.0,
    )


def not_answered() -> GatewayFault:
    """A worker took a request that changes something, and did not answer it."""
    return GatewayFault(
        503,
        "service_unavailable_error",
        "no_worker",
        "The worker that took this request did not answer, so it may or may not have been done. Look whether it was "
        "before you send it again; the log says whether a worker has ended.",
    )


class AdminFront:
    """The application of the listener.

    ``living``: the workers that serve at this moment. ``reload``: has all but this one, which has done so, read their
    configuration again; returns what is wrong with it.
    """

    def __init__(
        self,
        living: Callable[[], Sequence[Worker]],
        scrape: Scrape,
        reload: Callable[[Worker], Awaitable[Sequence[str]]],
        tasks: TrackedTasks,
    ) -> None:
        self._living = living
        self._scrape = scrape
        self._reload = reload
        self._tasks = tasks
        self._next = 0
        self._routes = RouteIndex(
            [KnownRoute(path, {"": path}) for path in (METRICS_PATH, RELOAD_PATH, UPSTREAMS_PATH)]
        )

    async def __call__(self, request: Request, client: Client) -> None:
        try:
            answer = await self._answer(request)
        except GatewayError as error:
            request.close_after_answer()
            await client.fail(error.with_traceback(None))
        else:
            if answer.status in (401, 403, 429):
                request.close_after_answer()
            elif request.path.startswith(_OPEN_TO_ALL):
                request.renew()
            else:
                request.admit()
            cookie = next((value for name, value in answer.headers if name == b"set-cookie"), b"")
            await client.respond(answer.status, answer.headers, answer.body, cookie=cookie)

    async def _answer(self, request: Request) -> WorkerAnswer:
        worker, answer = await self._first(request)
        found = self._routes.find(request.path)
        if answer.status != 200 or found is None:
            return answer
        path = found[0].path
        if path == METRICS_PATH:
            return await self._metrics(request, answer)
        if path == RELOAD_PATH and request.method == "POST":
            return await self._reloaded(worker, answer)
        if path == UPSTREAMS_PATH:
            return await self._of_all(worker, answer)
        return answer

    async def _first(self, request: Request) -> tuple[Worker, WorkerAnswer]:
        """Ask one worker, in turn; the next one if it has gone, and a second request can do nothing twice."""
        for worker in self._in_turn():
            try:
                return worker, await pass_on(worker.admin_socket, request, self._tasks)
            except NoAnswer as none:
                if none.sent and request.method not in ("GET", "HEAD", "OPTIONS"):
                    raise not_answered() from None
        raise no_worker()

    def _in_turn(self) -> Sequence[Worker]:
        living = self._living()
        self._next += 1
        start = self._next % max(1, len(living))
        return [*living[start:], *living[:start]]

    async def _metrics(self, request: Request, admitted: WorkerAnswer) -> WorkerAnswer:
        accept = b", ".join(request.every(b"accept")).decode("latin-1")
        made, content_type = await self._scrape.pieces(accept)
        return WorkerAnswer(200, ((b"content-type", content_type.encode("ascii")),), await in_turns(made))

    async def _reloaded(self, first: Worker, answer: WorkerAnswer) -> WorkerAnswer:
        if not (problems := await self._reload(first)):
            return answer
        message = "\n".join(["Some workers have the new configuration, and one does not take it:", *problems])
        raise ClientError(400, "invalid_request_error", "config_rejected", message)

    async def _of_all(self, first: Worker, answer: WorkerAnswer) -> WorkerAnswer:
        """What the first one tells of itself, with what all of them have in hand."""
        told = orjson.loads(answer.body)
        others = await asyncio.gather(*(worker.in_hand() for worker in self._living() if worker is not first))
        all_in_hand = of_all([told, *filter(None, others)])
        return WorkerAnswer(answer.status, answer.headers, orjson.dumps({**told, **all_in_hand}))
