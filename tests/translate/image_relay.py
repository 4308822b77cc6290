"""What the tests of images bought from an Images API are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from gateway.core.images.types import MadeImage
from gateway.core.types import Credential, Endpoint, Outcome, Price, Target, Upstream
from gateway.translate.commands import Send
from gateway.translate.context import EVENT_LIMIT
from gateway.translate.images_to_images import ImagesToImages
from gateway.translate.presenting import Presenter

from .chat import KEY, PIAPI, attempt_context
from .images import BLACK, GREY, URL, WHITE, PlainPresenter, as_base64, order
from .transcript import Pieces, lines, transcript

PRICE = Price(input=1, output=1)
AT_PIAPI = Target(PIAPI, "gpt-image-up", operation="images", price=PRICE)
OPENAI = Upstream("backup", "openai", (Endpoint("https://b", "https", "b", 443),), (Credential("first", KEY),))
AT_OPENAI = Target(OPENAI, "gpt-image-up", operation="images", price=PRICE)
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"text_tokens": 9, "image_tokens": 0},
    "output_tokens": 272,
    "total_tokens": 281,
}
TOLD = {"created_at": 1, "size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"}


def event(name: str, family: str = "image_generation", **fields: Any) -> bytes:
    kind = f"{family}.{name}"
    return f"event: {kind}\n".encode() + b"data: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def document(*items: dict[str, Any], **fields: Any) -> bytes:
    return orjson.dumps({"created": 1, "data": items, **fields})


PIECES: Pieces = {
    "preview": event("partial_image", b64_json=as_base64(GREY), partial_image_index=1, **TOLD),
    "bad-preview": event("partial_image", b64_json="?", partial_image_index=-1, **TOLD),
    "black": event("completed", b64_json=as_base64(BLACK), usage=USAGE, **TOLD),
    "white": event("completed", b64_json=as_base64(WHITE), usage=USAGE, **TOLD),
    "nothing": event("completed", b64_json="", usage=USAGE),
    "unknown": event("started"),
    "edited": event("completed", "image_edit", b64_json=as_base64(BLACK), usage=USAGE, **TOLD),
    "comment": b": still at it\n\n",
    "done": b"data: [DONE]\n\n",
    "half": event("completed", b64_json=as_base64(BLACK))[:40],
    "nonsense": b"data: {nonsense\n\n",
    "list": b"data: []\n\n",
    "deep": b"data: " + b"[" * 300 + b"]" * 300 + b"\n\n",
    "empty": b"data:\n\n",
    "error": b'event: error\ndata: {"error":{"message":"It broke","type":"server_error","code":"server_error"}}\n\n',
    "typed": b'data: {"type":"error","code":"moderation_blocked","message":"Rejected by the safety system."}\n\n',
    "bare": b'event: error\ndata: {"message":"It broke"}\n\n',
    "leak": f'data: {{"error":{{"message":"bad key {KEY}"}}}}\n\n'.encode(),
    "envelope": b'data: {"code":429,"message":"too many requests","data":null}\n\n',
    "whole": document({"b64_json": as_base64(BLACK), "revised_prompt": "A black cat"}, usage=USAGE, **TOLD),
    "links": document({"url": URL}, {"url": "no link"}),
    "whole-event": b"data: " + document({"b64_json": as_base64(BLACK)}, usage=USAGE) + b"\n\n",
    "no-images": document(),
    "no-data": b'{"created":1}',
    "deep-body": b'{"data":' + b"[" * 300 + b"]" * 300 + b"}",
    "inner-400": b'{"code":400,"message":"bad size","data":null}',
    "refused": b'{"error":{"message":"Your request was rejected.","type":"image_generation_user_error",'
    b'"code":"moderation_blocked"}}',
    "image": b"image",
    "shown": b"preview",
}
BLACK_IMAGE, WHITE_IMAGE = MadeImage(None, as_base64(BLACK)), MadeImage(None, as_base64(WHITE))


def conversation(
    target: Target = AT_PIAPI,
    n: int = 1,
    presenter: Presenter | None = None,
    event_limit: int = EVENT_LIMIT,
    **fields: Any,
) -> ImagesToImages:
    return ImagesToImages(
        order(**fields),
        replace(attempt_context(target), event_limit=event_limit),
        n=n,
        presenter=presenter or PlainPresenter(),
        boundary="bound-7",
    )


def sent(talk: ImagesToImages) -> Send:
    command = next(talk.converse())
    assert isinstance(command, Send)
    return command


def tell(talk: ImagesToImages, text: str) -> Outcome:
    said, outcome = transcript(talk, text, PIECES)
    assert said.split("\n") == lines(text)
    return outcome
