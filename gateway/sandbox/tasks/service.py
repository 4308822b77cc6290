"""The service behind PiAPI's task API: a client creates a task, then polls until it is done.

A task counts polls instead of seconds: with ``polls=2`` it is pending at the first, processing at the second and done
from the third on. With ``ready=SECONDS`` it is done after so long, polled or not. It is billed once, when it is done;
one that failed never is. A webhook it was created with is called at that moment.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.images.png import image_name
from gateway.sandbox.tasks.documents import TaskView, picture_document, task_data, task_document
from gateway.sandbox.tasks.order_rules import image_count, image_size, order_points, order_problem
from gateway.sandbox.tasks.pictures import PATHS, Picture, picture_of, picture_problem
from gateway.sandbox.tasks.webhooks import WebhookSender
from gateway.sandbox.wire.answers import Reply, Sale, json_reply
from gateway.sandbox.wire.errors import piapi_error
from gateway.sandbox.wire.options import Options
from gateway.sandbox.wire.requests import RecordedRequest

_KEPT = 1000
_ID = re.compile(r"/api/v1/task/([0-9a-f-]{1,64})")
_FAILURES = {"failed": "task failed", "nsfw": "Sandbox: NSFW content detected"}


@dataclass(slots=True)
class _Task:
    """One task. ``request``: the one that created it.

    ``began``: the loop's time. ``ended``: Unix seconds, None while it runs.
    """

    id: str
    request: RecordedRequest
    body: Mapping[str, Any]
    options: Options
    site: str
    began: float
    created: float
    polled: int = 0
    ended: float | None = None
    timer: asyncio.TimerHandle | None = None
    picture: Picture | None = None

    @property
    def key(self) -> str:
        return self.request.key or ""

    @property
    def failure(self) -> str | None:
        return _FAILURES.get(self.options.task) if self.ended is not None else None

    @property
    def links(self) -> tuple[str, ...]:
        if self.options.task == "empty":
            return ()
        if self.picture is not None:
            return (f"{self.site}/files/{self.picture.name}",)
        width, height = image_size(self.body)
        seeds = (f"{self.body['input'].get('prompt', '')}{number}" for number in range(image_count(self.body)))
        return tuple(f"{self.site}/files/{image_name(seed, width, height)}" for seed in seeds)

    @property
    def points(self) -> int | None:
        """What was taken for it: the option's, else the true price; a task that failed takes nothing."""
        if self.failure is not None:
            return 0
        if self.picture is not None:
            return max(self.options.consume, 0) or None
        return self.options.consume if self.options.consume > 0 else order_points(self.body)

    def view(self) -> TaskView:
        if self.ended is not None:
            progress = 1.0
        elif self.options.ready > 0:
            progress = (asyncio.get_running_loop().time() - self.began) / self.options.ready
        else:
            progress = self.polled / (self.options.polls + 1)
        return TaskView(
            id="" if self.options.task == "nameless" else self.id,
            body=self.body,
            vocabulary=self.options.vocabulary,
            shape=self.options.shape,
            progress=progress,
            created=self.created,
            ended=self.ended,
            failure=self.failure,
            links=self.links,
            points=None if self.options.consume == 0 else self.points,
        )

    @property
    def document(self) -> dict[str, Any]:
        """The answer about the task at this moment."""
        if self.picture is None:
            return task_document(self.view())
        return picture_document(self.view(), self.picture, self.options)

    @property
    def sale(self) -> Sale:
        if self.picture is not None:
            return self.picture.sale
        return Sale(self.body["model"], images=len(self.links), flat=True, points=self.points)


class TaskService:
    """The tasks of one sandbox, seen only by the key that made them; the oldest are forgotten.

    ``sell`` bills a task that is done, on the request that created it. ``changed`` is told when one is done.
    """

    def __init__(
        self, sell: Callable[[RecordedRequest, Sale], None], webhooks: WebhookSender, changed: Callable[[], None]
    ) -> None:
        self._sell = sell
        self._webhooks = webhooks
        self._changed = changed
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._most: dict[str, int] = {}
        self._serial = 0

    def running(self, key: str) -> int:
        """How many tasks of a key are not done. One that waits for a poll runs until that comes."""
        return sum(task.ended is None and task.key == key for task in self._tasks.values())

    def most_at_once(self, key: str) -> int:
        """The most tasks of a key that ever ran at the same time."""
        return self._most.get(key, 0)

    def create(self, request: RecordedRequest, options: Options, *, site: str, bought: bool) -> Reply:
        """The answer to an order, with the task it starts.

        ``site``: where images can be fetched. ``bought``: it is done and billed at once, for an answer that may
        never arrive. A wrong order is refused under HTTP 200 with an inner code.
        """
        body, key = request.json, request.key or ""
        if body is None:
            return piapi_error(400, "Sandbox: the body is not JSON", status=400)
        if (wrong := order_problem(body)) is not None:
            return piapi_error(400, wrong)
        if options.enforce_concurrency and self.running(key) >= options.concurrency:
            return piapi_error(429, "too many requests", status=429)
        return self._begin(self._start(request, body, options, site), bought=bought)

    def create_picture(self, request: RecordedRequest, options: Options, *, site: str, bought: bool) -> Reply:
        """The answer to an order at one of the asynchronous picture routes. A wrong one is refused by HTTP 400."""
        fields, task_type = request.json, PATHS[request.path]
        if (wrong := picture_problem(fields, edit=task_type.endswith("edit"))) is not None:
            return piapi_error(400, wrong, status=400)
        assert isinstance(fields, dict)
        picture = picture_of(fields, site)
        if options.picture == "whole":
            return json_reply(200, picture.output(options), sale=picture.sale)
        body = {"model": fields["model"], "task_type": task_type, "input": dict(fields), "config": fields.get("config")}
        task = self._start(request, body, options, site)
        task.picture = picture
        return self._begin(task, bought=bought)

    def _begin(self, task: _Task, *, bought: bool) -> Reply:
        options, key = task.options, task.key
        self._most[key] = max(self.most_at_once(key), self.running(key))
        shown = task.document
        if bought or options.task == "nameless":
            self._finish(task)
        elif options.ready > 0 and options.task != "never":
            task.timer = asyncio.get_running_loop().call_later(options.ready, self._finish, task)
        return json_reply(200, shown)

    def _start(self, request: RecordedRequest, body: Mapping[str, Any], options: Options, site: str) -> _Task:
        self._serial += 1
        id = f"00000000-0000-4000-8000-{self._serial:012x}"
        began = asyncio.get_running_loop().time()
        task = self._tasks[id] = _Task(id, request, body, options, site, began, time.time())
        while len(self._tasks) > _KEPT:
            _, forgotten = self._tasks.popitem(last=False)
            _stop(forgotten)
        return task

    def read(self, request: RecordedRequest) -> Reply:
        """The answer to a poll, which counts."""
        match = _ID.fullmatch(request.path)
        task = self._tasks.get(match[1]) if match else None
        if task is None or task.key != request.key:
            return piapi_error(404, "Sandbox: task not found", status=404)
        task.polled += 1
        if task.timer is None and task.options.task != "never" and task.polled > task.options.polls:
            self._finish(task)
        return json_reply(200, task.document)

    def close(self) -> None:
        """Stop all timers: tasks that are not done stay so."""
        for task in self._tasks.values():
            _stop(task)

    def _finish(self, task: _Task) -> None:
        """End a task, done or failed; a second time changes nothing."""
        if task.ended is not None:
            return
        task.ended = time.time()
        if task.failure is None:
            self._sell(task.request, task.sale)
        self._webhooks.send(task.body.get("config"), task.id, task_data(task.view()))
        self._changed()


def _stop(task: _Task) -> None:
    if task.timer is not None:
        task.timer.cancel()
