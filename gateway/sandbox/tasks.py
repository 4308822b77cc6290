"""PiAPI's unified task API for Flux: create, then ask until it is done.

The state machine counts questions instead of seconds: with ``polls=2`` a task is pending at the first, processing at
the second and done from the third on. Three vocabularies of statuses have been seen in the wild.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.answers import Reply, Sale, json_reply
from gateway.sandbox.images import whole_number
from gateway.sandbox.options import Options
from gateway.sandbox.pictures import MAX_SIDE, picture_name
from gateway.sandbox.refusals import envelope

_KEPT = 1000
_NEVER = "0001-01-01T00:00:00Z"
_MODELS = ("Qubico/flux1-schnell", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced")
_POINTS = {_MODELS[0]: 15_000, _MODELS[1]: 150_000, _MODELS[2]: 200_000}  # 10,000,000 points are one dollar
_VOCABULARIES: Mapping[str, tuple[str, str, str, str]] = {
    "docs": ("Pending", "Processing", "Completed", "Failed"),
    "lower": ("pending", "processing", "completed", "failed"),
    "legacy": ("pending", "processing\t", "success", "failed"),
}
_ID = re.compile(r"/api/v1/task/([0-9a-f-]{1,64})")


@dataclass(slots=True)
class _Task:
    key: str
    body: Mapping[str, Any]
    options: Options
    created: str
    site: str
    asked: int = 0
    sold: bool = False


class TaskDesk:
    """The tasks of one sandbox, seen only by the key that made them; the oldest are forgotten."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._serial = 0

    def create(self, raw: bytes, key: str, options: Options, *, now: str, site: str) -> Reply:
        """``now``: RFC 3339. ``site``: where pictures can be fetched. PiAPI answers 200 with an inner code."""
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return envelope(400, "Sandbox: the body is not JSON", status=400)
        if not isinstance(body, dict) or body.get("model") not in _MODELS:
            return envelope(400, "invalid model")
        if not isinstance(body.get("input"), dict) or not body.get("task_type"):
            return envelope(400, "Sandbox: task_type and input are needed")
        self._serial += 1
        id = f"00000000-0000-4000-8000-{self._serial:012x}"
        self._tasks[id] = _Task(key, body, options, now, site)
        while len(self._tasks) > _KEPT:
            self._tasks.popitem(last=False)
        return self._show(id, self._tasks[id], 0)

    def read(self, path: str, key: str) -> Reply:
        match = _ID.fullmatch(path)
        task = self._tasks.get(match[1]) if match else None
        if match is None or task is None or task.key != key:
            return envelope(404, "Sandbox: task not found", status=404)
        task.asked += 1
        return self._show(match[1], task, task.asked)

    def _show(self, id: str, task: _Task, asked: int) -> Reply:
        words = _VOCABULARIES.get(task.options.vocabulary, _VOCABULARIES["docs"])
        ended = asked > task.options.polls
        failed = ended and task.options.task == "failed"
        stage = (3 if failed else 2) if ended else min(asked // 2, 1)
        done = ended and not failed
        model = str(task.body["model"])
        pictures = whole_number(task.body["input"].get("batch_size"), 1, most=4)
        points = _POINTS[model] * pictures if done else 0
        data = {
            "task_id": id,
            "model": model,
            "task_type": task.body["task_type"],
            "status": words[stage],
            "config": task.body.get("config") or {},
            "input": task.body["input"],
            "output": self._output(task, pictures) if done else None,
            "meta": {
                "created_at": task.created,
                "started_at": task.created if asked else _NEVER,
                "ended_at": task.created if ended else _NEVER,
                "usage": {"type": "point", "frozen": 0, "consume": points},
                "is_using_private_pool": False,
            },
            "detail": None,
            "logs": ["internal server error\nstatus code: 500"] if failed else [],
            "error": {
                "code": 10000 if failed else 0,
                "raw_message": "task failed" if failed else "",
                "message": "task failed" if failed else "",
                "detail": None,
            },
        }
        sale = None
        if done and not task.sold:
            task.sold = True
            sale = Sale(model, images=pictures, flat=True, done=True)
        return json_reply(200, {"code": 200, "data": data, "message": "success"}, sale=sale)

    def _output(self, task: _Task, pictures: int) -> dict[str, Any]:
        wanted = task.body["input"]
        width, height = (whole_number(wanted.get(side), 1024, most=MAX_SIDE) for side in ("width", "height"))
        seeds = (f"{wanted.get('prompt', '')}{number}" for number in range(pictures))
        urls = [f"{task.site}/files/{picture_name(seed, width, height)}" for seed in seeds]
        return {"image_url": urls[0], "image_urls": urls if pictures > 1 else None, "image_base64": ""}
