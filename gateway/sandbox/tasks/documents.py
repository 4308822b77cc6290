"""Documents that report a task: the vocabularies of its status, and the shapes PiAPI has been seen to give them."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.images.png import image_by_name
from gateway.sandbox.tasks.pictures import Picture
from gateway.sandbox.wire.options import Options

_NEVER = "0001-01-01T00:00:00Z"

# vocabulary → the words on the way in their order, the word for done, the word for failed
_VOCABULARIES: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "docs": (("Pending", "Processing"), "Completed", "Failed"),
    "lower": (("pending", "processing"), "completed", "failed"),
    "legacy": (("pending", "processing\t"), "success", "failed"),
    "odd": (("", "staged", "warming up", "RETRY", " Processing", "processing\t"), " COMPLETED ", "FAILED\n"),
}


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task at one moment, as far as a document can show it.

    ``progress``: 0 at its creation, 1 when it is done. ``created``, ``ended``: Unix seconds. ``failure``: why it
    failed, None if it did not. ``links``: its images. ``points``: what it says it took, None to leave that out.
    """

    id: str
    body: Mapping[str, Any]
    vocabulary: str
    shape: str
    progress: float
    created: float
    ended: float | None
    failure: str | None
    links: tuple[str, ...]
    points: int | None

    @property
    def status(self) -> str:
        on_the_way, done, failed = _VOCABULARIES.get(self.vocabulary, _VOCABULARIES["docs"])
        if self.ended is not None:
            return done if self.failure is None else failed
        return on_the_way[min(int(self.progress * len(on_the_way)), len(on_the_way) - 1)]


def task_document(view: TaskView) -> dict[str, Any]:
    """The whole document that answers a request; webhooks, and some of PiAPI's answers, have no ``code``."""
    if view.shape == "data":
        return {"timestamp": int(view.ended or view.created), "data": task_data(view)}
    return {"code": 200, "data": task_data(view), "message": "success"}


def task_data(view: TaskView) -> dict[str, Any]:
    """The ``data`` of a document, which webhooks carry, too."""
    content = {
        "task_id": view.id,
        "model": view.body["model"],
        "task_type": view.body["task_type"],
        "status": view.status,
    }
    return content | (_legacy(view) if view.shape == "legacy" else _unified(view))


def picture_document(view: TaskView, picture: Picture, options: Options) -> dict[str, Any]:
    """The answer about an asynchronous picture: the task at the top level, or in the envelope."""
    data = task_data(view)
    done = view.ended is not None and view.failure is None
    data["output"] = picture.output(options) if done and view.links else None
    if options.picture == "envelope":
        return {"code": 200, "data": data, "message": "success"}
    if options.picture == "id":
        data["id"] = data.pop("task_id")
    return data


def _unified(view: TaskView) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "created_at": rfc3339(view.created),
        "started_at": rfc3339(view.created) if view.progress > 0 else _NEVER,
        "ended_at": _NEVER if view.ended is None else rfc3339(view.ended),
        "is_using_private_pool": False,
    }
    if view.points is not None:
        meta["usage"] = {"type": "point", "frozen": 0, "consume": view.points}
    failed = view.failure is not None
    return {
        "config": view.body.get("config") or {},
        "input": view.body["input"],
        "output": None if view.ended is None or failed else _output(view),
        "meta": meta,
        "detail": None,
        "logs": [f"{view.failure}\nstatus code: 500"] if failed else [],
        "error": {
            "code": 10000 if failed else 0,
            "raw_message": view.failure or "",
            "message": view.failure or "",
            "detail": None,
        },
    }


def _legacy(view: TaskView) -> dict[str, Any]:
    done = view.ended is not None and view.failure is None
    output = _output(view) if done else {"image_url": "", "image_base64": ""}
    result: dict[str, Any] = {"error_messages": [view.failure] if view.failure else [], "task_output": output}
    if view.points is not None:
        result["used_credits"] = view.points if done else 0
    info = {
        "created_at": rfc3339(view.created),
        "started_at": rfc3339(view.created) if view.progress > 0 else "",
        "completed_at": "" if view.ended is None else rfc3339(view.ended),
        "frozen_credits": 0,
        "task_input": view.body["input"],
    }
    return {"task_info": info, "task_result": result}


def _output(view: TaskView) -> dict[str, Any]:
    """The output of a task that is done; without an image its fields are empty, in every shape."""
    links = view.links
    first = links[0] if links else ""
    if view.shape == "urls":
        return {"image_urls": list(links)}
    if view.shape == "images":
        return {"images": [{"url": link} for link in links]}
    if view.shape == "base64":
        image = image_by_name(first.rpartition("/")[2]) or b""
        return {"image_url": "", "image_base64": base64.b64encode(image).decode()}
    return {"image_url": first, "image_urls": list(links) if len(links) > 1 else None, "image_base64": ""}


def rfc3339(moment: float) -> str:
    """Unix seconds → RFC 3339, as PiAPI writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
