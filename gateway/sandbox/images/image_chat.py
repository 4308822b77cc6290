"""gpt-4o-image over chat: a stream whose text holds the images as markdown links (image_texts.py has the texts)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from gateway.sandbox.chat.completions import (
    CompletionFields,
    chunk_event,
    delta_choice,
    malformed_request,
    prompt_tokens,
)
from gateway.sandbox.chat.messages import last_message_text
from gateway.sandbox.images.image_texts import VARIANTS, VARIANTS_WITH_IMAGES, ImageJob
from gateway.sandbox.images.picture_forms import CHAT_FORMS, DELTAS, DOCUMENTS, TEXTS, Picture
from gateway.sandbox.images.png import image_name
from gateway.sandbox.wire.answers import DONE, Answer, Event, EventKind, EventStream, Json, Sale, json_reply
from gateway.sandbox.wire.errors import error_reply
from gateway.sandbox.wire.options import Options

_SIZE = re.compile(r"\b([1-9]\d{2,3})x([1-9]\d{2,3})\b")
_RATIOS = {"1:1": (1024, 1024), "3:2": (1536, 1024), "2:3": (1024, 1536)}
_THOUGHTS = ("✨ 图片生成任务已启动\n", "生成进度: 35%\n", "生成进度: ", "70", "%\n")
"""Deltas of ``reasoning_content`` that tell of the progress."""


def answer_image_chat(body: Json, options: Options, *, id: str, created: int, site: str) -> Answer:
    """The answer to a chat request for gpt-4o-image. ``site``: this sandbox's base URL, for links to the images."""
    if (problem := malformed_request(body)) is not None:
        return problem
    messages = body["messages"]
    if not body.get("stream"):
        return error_reply(400, message="Sandbox: gpt-4o-image can only be used in stream mode.")
    job = _job(last_message_text(messages), options, id, site)
    if options.form in CHAT_FORMS:
        return _formed(job, options.form, prompt_tokens(messages), id=id, created=created, model=body["model"])
    pieces = list(VARIANTS[options.variant](job)) if options.variant in VARIANTS else []
    images = len(job.urls) if options.variant in VARIANTS_WITH_IMAGES else 0
    sale = Sale(body["model"], prompt_tokens(messages), 0, len(pieces), images, flat=True)
    fields = CompletionFields(id, created, body["model"], None)
    message = {"role": "assistant", "content": "".join(pieces)}
    thoughts = _THOUGHTS if options.variant == "reasoning" else ()
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = json_reply(200, {"id": id, "object": "chat.completion", "created": created, "choices": choices}, sale=sale)
    return EventStream(_events(fields, thoughts, pieces, images, options.variant), whole, sale)


def _formed(job: ImageJob, form: str, tokens: int, *, id: str, created: int, model: str) -> Answer:
    """An answer that hands its first picture over in a form of picture_forms.py."""
    picture = Picture(job.urls[0])
    sale = Sale(model, tokens, 0, 1, 1, flat=True)
    fields = CompletionFields(id, created, model, None)
    if form in DOCUMENTS:
        document = DOCUMENTS[form](picture)
        return EventStream(
            [Event(orjson.dumps(document), "content", 1, 1), DONE], json_reply(200, document, sale=sale), sale
        )
    deltas: list[dict[str, Any]] = [{"content": TEXTS[form](picture)}] if form in TEXTS else list(DELTAS[form](picture))
    events = [
        chunk_event(fields, "role", delta_choice(0, {"role": "assistant", "content": ""}, None), null_usage=False)
    ]
    for place, delta in enumerate(deltas):
        choice = delta_choice(0, delta, None) if "message" not in delta else {"index": 0, **delta}
        last = place == len(deltas) - 1
        events.append(chunk_event(fields, "content", choice, null_usage=False, tokens=1, images=int(last)))
    events.append(chunk_event(fields, "finish", delta_choice(0, {}, "stop"), null_usage=False))
    said: dict[str, Any] = {"role": "assistant"}
    for delta in deltas:
        message: dict[str, Any] = delta.get("message", delta)
        said |= {name: value for name, value in message.items() if value}
    choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
    whole = json_reply(200, {"id": id, "object": "chat.completion", "created": created, "choices": choices}, sale=sale)
    return EventStream([*events, DONE], whole, sale)


def _job(prompt: str, options: Options, id: str, site: str) -> ImageJob:
    size, ratio = _SIZE.search(prompt), next((ratio for ratio in _RATIOS if ratio in prompt), "1:1")
    width, height = (int(size[1]), int(size[2])) if size else _RATIOS[ratio]
    names = (image_name(f"{prompt}{number}", width, height) for number in range(options.images))
    return ImageJob(prompt, ratio, id.rpartition("-")[2], tuple(f"{site}/files/{name}" for name in names))


def _events(
    fields: CompletionFields, thoughts: tuple[str, ...], pieces: list[str], images: int, variant: str
) -> Iterator[Event]:
    def event(kind: EventKind, delta: Json, finish: str | None = None, **goods: int) -> Event:
        return chunk_event(fields, kind, delta_choice(0, delta, finish), null_usage=False, **goods)

    yield event("role", {"role": "assistant", "content": ""})
    if variant == "error_string":
        yield Event(b'{"error": "generation_failed", "code": "generation_failed"}')
        yield DONE
        return
    if variant == "error_delta":
        yield event("other", {"error": "timeout"})
    for thought in thoughts:
        yield event("other", {"reasoning_content": thought})
    for number, piece in enumerate(pieces):
        # The family sends an empty delta in the middle; the images are complete with the last piece.
        if number == 2:
            yield event("other", {})
        last = number == len(pieces) - 1
        yield event("content", {"content": piece}, tokens=1, images=images if last else 0)
    yield event("finish", {}, "stop")
    yield DONE
