"""The routes of the simulated providers: a request's path and method → its honest answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from gateway.sandbox.chat.anthropic_messages import COUNT_PATH, MESSAGES_PATH, answer_messages, list_models
from gateway.sandbox.chat.completions import answer_chat
from gateway.sandbox.chat.models import MODELS, model_entry
from gateway.sandbox.images.image_chat import answer_image_chat
from gateway.sandbox.images.images_api import answer_images
from gateway.sandbox.images.png import image_by_name
from gateway.sandbox.relays.responses import answer_compaction, answer_response, count_tokens, read_response
from gateway.sandbox.relays.sounds import answer_speech, answer_transcript
from gateway.sandbox.relays.texts import answer_completion, answer_embeddings, answer_moderation, no_object
from gateway.sandbox.server.billing import NANO_PER_USD, POINTS_PER_USD
from gateway.sandbox.tasks.pictures import PATHS as PICTURES
from gateway.sandbox.tasks.service import TaskService
from gateway.sandbox.tasks.webhooks import WebhookSender
from gateway.sandbox.wire.answers import Answer, Reply, Sale, json_reply
from gateway.sandbox.wire.errors import anthropic_error, error_reply, piapi_error
from gateway.sandbox.wire.options import Options
from gateway.sandbox.wire.requests import MODELS_PATH, RecordedRequest

_SELF: Mapping[str, Any] = {
    "sandbox": True,
    "message": "A simulated PiAPI and backup: nothing is bought. Base URLs: /role/api, /role/proxy, /role/backup.",
}
_POINTS = 123_456_789
"""Points on every account at first."""


class Routes:
    """All routes. Tasks are the only state behind them. ``sell``, ``changed``: see ``TaskService``.

    ``drawn``: nano-dollars that PiAPI sold so far, by API key.
    """

    def __init__(
        self, sell: Callable[[RecordedRequest, Sale], None], changed: Callable[[], None], drawn: Counter[str]
    ) -> None:
        self._drawn = drawn
        self.webhooks = WebhookSender(changed)
        self.tasks = TaskService(sell, self.webhooks, changed)

    async def close(self) -> None:
        self.tasks.close()
        await self.webhooks.close()

    def answer(self, request: RecordedRequest, options: Options, site: str, *, bought: bool = False) -> Answer:
        """The honest answer to a request.

        ``site``: this sandbox's base URL, for links to images. ``bought``: its task is done and billed at once.
        """
        path = request.path
        if path.startswith("/files/"):
            return _file(path)
        if path == "/":
            return json_reply(200, _SELF)
        if request.key is None:
            own = path.startswith(("/api/", "/account/"))
            if path.startswith(MESSAGES_PATH):
                return anthropic_error(401, "x-api-key header is required")
            return piapi_error(401, "Sandbox: no API key", status=401) if own else error_reply(401)
        if path.startswith(("/api/v1/", "/account/")) and request.role == "backup":
            return error_reply(404, code="not_found", message="Sandbox: the backup provider has no such route.")
        if request.method in ("GET", "HEAD"):
            return self._read(request, options)
        if request.method == "DELETE" and path.startswith("/v1/responses/"):
            return json_reply(200, {"id": path.rpartition("/")[2], "object": "response", "deleted": True})
        if request.method == "POST":
            return self._write(request, options, options.site or site, bought=bought)
        words = "Sandbox: this method is not served."
        return error_reply(405, type="invalid_request_error", code="method_not_allowed", message=words)

    def _read(self, request: RecordedRequest, options: Options) -> Answer:
        path, key = request.path, request.key or ""
        if path == MODELS_PATH and request.get(b"anthropic-version") is not None:
            return list_models(request)
        if path == MODELS_PATH:
            return json_reply(200, {"object": "list", "data": [model_entry(name) for name in MODELS]})
        if path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            if name in MODELS:
                return json_reply(200, model_entry(name))
            return error_reply(404, message=f"Sandbox: The model '{name[:80]}' does not exist", param="model")
        if path.startswith("/v1/responses/"):
            return read_response(path.removeprefix("/v1/responses/"), request.request.target.partition("?")[2])
        if path == "/account/info":
            return _account(key, options, self._drawn[key])
        if path.startswith("/api/v1/task/"):
            return self.tasks.read(request)
        return error_reply(404, code="not_found", message="Sandbox: there is no such route.")

    def _write(self, request: RecordedRequest, options: Options, site: str, *, bought: bool) -> Answer:
        path, now = request.path, int(time.time())
        if path == "/v1/chat/completions":
            body = request.json
            if not isinstance(body, dict):
                return error_reply(400, message="Sandbox: the body is not a JSON object.")
            id = request.id.replace("req-sandbox", "chatcmpl-sandbox")
            if str(body.get("model")).startswith("gpt-4o-image"):
                return answer_image_chat(body, options, id=id, created=now, site=site)
            return answer_chat(body, options, id=id, created=now, role=request.role)
        if path in (MESSAGES_PATH, COUNT_PATH):
            return answer_messages(request, options)
        if path in ("/v1/images/generations", "/v1/images/edits"):
            return answer_images(request, options, edit=path.endswith("edits"), created=now, site=site)
        if path.startswith(("/v1/audio/", "/v1/responses")) or path in (
            "/v1/embeddings",
            "/v1/completions",
            "/v1/moderations",
        ):
            return _relayed(request, options, created=now)
        if path in PICTURES:
            return self.tasks.create_picture(request, options, site=site, bought=bought)
        if path == "/api/v1/task":
            return self.tasks.create(request, options, site=site, bought=bought)
        return error_reply(404, code="not_found", message="Sandbox: there is no such route.")


def _relayed(request: RecordedRequest, options: Options, *, created: int) -> Answer:
    """The routes that a gateway relays as they are."""
    path, body = request.path, request.json
    model = request.model or ""
    if model.startswith("missing-"):
        words = f"Sandbox: The model `{model[:80]}` does not exist or you do not have access to it."
        return error_reply(404, message=words)
    if path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
        return answer_transcript(request.form, options, translate=path.endswith("translations"))
    if not isinstance(body, dict):
        return no_object()
    if path == "/v1/audio/speech":
        return answer_speech(body, options)
    if path == "/v1/embeddings":
        return answer_embeddings(body, options)
    if path == "/v1/completions":
        return answer_completion(body, options, id=request.id.replace("req-sandbox", "cmpl-sandbox"), created=created)
    if path.startswith("/v1/responses"):
        return _of_responses(request, body, options, created=created)
    if path == "/v1/moderations":
        return answer_moderation(body, options, id=request.id.replace("req-sandbox", "modr-sandbox"))
    return error_reply(404, code="not_found", message="Sandbox: there is no such route.")


def _of_responses(request: RecordedRequest, body: dict[str, Any], options: Options, *, created: int) -> Answer:
    id = request.id.replace("req-sandbox", "resp_sandbox")
    if request.path == "/v1/responses":
        return answer_response(body, options, id=id, created=created)
    if request.path == "/v1/responses/compact":
        return answer_compaction(body, id=id, created=created)
    if request.path == "/v1/responses/input_tokens":
        return count_tokens(body)
    return error_reply(404, code="not_found", message="Sandbox: there is no such route.")


def _file(path: str) -> Reply:
    image = image_by_name(path.removeprefix("/files/"))
    if image is None:
        return error_reply(404, code="not_found", message="Sandbox: there is no such file.")
    return Reply(200, image, content_type=b"image/png")


def _account(key: str, options: Options, drawn: int) -> Reply:
    """PiAPI's account page: every key has an account of its own; one that contains ``sandbox-broke`` is empty.

    ``drawn``: nano-dollars. What comes to less than a point is drawn as a whole one.
    """
    credits = 0 if "sandbox-broke" in key else _POINTS - -(-drawn * POINTS_PER_USD // NANO_PER_USD)
    data: Mapping[str, Any] = {
        "id": f"sandbox-{sha256(key.encode()).hexdigest()[:12]}",
        "name": "Sandbox",
        "plan": "Creator",
        "type": "user",
        "is_enable": True,
        "max_concurrent_task_count": options.concurrency,
        "wallet": {"mj_remain": 0, "point_remain": credits},
        "equivalent_in_usd": credits / POINTS_PER_USD,
        "credit_pack_info": {
            "available_credits": credits,
            "used_credits": max(0, _POINTS - credits),
            "total_credits": _POINTS,
            "frozen_credits": 0,
            "expired_credits": 0,
            "inactive_credits": 0,
        },
    }
    return json_reply(200, {"code": 200, "data": data, "message": "success"})
