"""Path → honest answer: what the simulated providers offer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gateway.sandbox.answers import Answer, Reply, json_reply
from gateway.sandbox.chat import answer_chat
from gateway.sandbox.image_chat import answer_image_chat
from gateway.sandbox.images import answer_images
from gateway.sandbox.journal import RecordedRequest
from gateway.sandbox.options import Options
from gateway.sandbox.pictures import picture_by_name
from gateway.sandbox.refusals import envelope, refusal
from gateway.sandbox.tasks import TaskDesk

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "claude-3-7-sonnet-20250219",
    "claude-sonnet-4-20250514",
    "gpt-4o-image",
    "gpt-image-1",
)
_BORN = 1_700_000_000


class Routes:
    """Answers honestly. Flux tasks are the only thing it remembers."""

    def __init__(self) -> None:
        self._tasks = TaskDesk()

    def answer(self, request: RecordedRequest, options: Options, site: str) -> Answer:
        """``site``: this sandbox's base URL, for links to pictures."""
        path = request.path
        if path.startswith("/files/"):
            return _file(path)
        if request.key is None:
            own = path.startswith(("/api/", "/account/"))
            return envelope(401, "Sandbox: no API key", status=401) if own else refusal(401)
        if path.startswith(("/api/v1/task", "/account/")) and request.role == "backup":
            return refusal(404, code="not_found", message="Sandbox: the backup provider has no such route.")
        if request.method == "GET":
            return self._read(request)
        if request.method == "POST":
            return self._write(request, options, site)
        return refusal(405, code="method_not_allowed", message="Sandbox: this method is not served.")

    def _read(self, request: RecordedRequest) -> Reply:
        path, key = request.path, request.key or ""
        if path == "/v1/models":
            return json_reply(200, {"object": "list", "data": [_model(name) for name in MODELS]})
        if path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            return json_reply(200, _model(name)) if name in MODELS else refusal(404)
        if path == "/account/info":
            return _account(key)
        if path.startswith("/api/v1/task/"):
            return self._tasks.read(path, key)
        return refusal(404, code="not_found", message="Sandbox: there is no such route.")

    def _write(self, request: RecordedRequest, options: Options, site: str) -> Answer:
        path, now = request.path, int(time.time())
        if path == "/v1/chat/completions":
            body = request.json
            if not isinstance(body, dict):
                return refusal(400, message="Sandbox: the body is not a JSON object.")
            id = request.id.replace("req-sandbox", "chatcmpl-sandbox")
            if str(body.get("model")).startswith("gpt-4o-image"):
                return answer_image_chat(body, options, id=id, created=now, site=site)
            return answer_chat(body, options, id=id, created=now)
        if path in ("/v1/images/generations", "/v1/images/edits"):
            return answer_images(request.request, edit=path.endswith("edits"), created=now)
        if path == "/api/v1/task":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
            return self._tasks.create(request.body, request.key or "", options, now=stamp, site=site)
        return refusal(404, code="not_found", message="Sandbox: there is no such route.")


def _file(path: str) -> Reply:
    picture = picture_by_name(path.removeprefix("/files/"))
    if picture is None:
        return refusal(404, code="not_found", message="Sandbox: there is no such file.")
    return Reply(200, picture, content_type=b"image/png")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _BORN, "owned_by": "sandbox"}


def _account(key: str) -> Reply:
    """PiAPI's account page; a key that contains ``sandbox-broke`` has nothing left."""
    credits = 0 if "sandbox-broke" in key else 123_456_789
    data: Mapping[str, Any] = {
        "id": "sandbox-account",
        "name": "Sandbox",
        "plan": "Creator",
        "type": "user",
        "is_enable": True,
        "max_concurrent_task_count": 5,
        "wallet": {"mj_remain": 0, "point_remain": credits},
        "equivalent_in_usd": credits / 10_000_000,
        "credit_pack_info": {
            "available_credits": credits,
            "used_credits": 0,
            "total_credits": credits,
            "frozen_credits": 0,
            "expired_credits": 0,
            "inactive_credits": 0,
        },
    }
    return json_reply(200, {"code": 200, "data": data, "message": "success"})
