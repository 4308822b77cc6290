"""What the tests of images bought from a chat are made of."""

from __future__ import annotations

import json
from typing import Any

from gateway.core.images.types import MadeImage
from gateway.core.types import Outcome
from gateway.translate.commands import Send
from gateway.translate.images_to_chat import ImagesToChat
from gateway.translate.presenting import Presenter
from gateway.wire.answer_head import Head

from .chat import KEY, SOLD_BY_IMAGE, USAGE, attempt_context, chunk, delta
from .images import BLACK, OTHER_URL, URL, PlainPresenter, as_base64, order
from .transcript import Pieces, lines, transcript

FENCE = '```\n{\n  "prompt": "A black cat",\n  "ratio": "1:1"\n}\n```\n\n'
STREAM_HEAD = Head(200, ((b"content-type", b"text/event-stream"),))


def text(content: str, **fields: Any) -> bytes:
    return chunk(delta(content=content, **fields))


def completion(content: str, finish: str = "stop") -> bytes:
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": choices, "usage": USAGE}).encode()


PIECES: Pieces = {
    "role": chunk(delta(role="assistant", content="")),
    "nothing": chunk(delta()),
    "fence": text(FENCE),
    "queuing": text("> ID: `task_1`\n> Queuing."),
    "15%": text("\n> Progress 15%."),
    "64%": text("\n> Progress 64%.."),
    "thought": chunk(delta(reasoning_content="Progress 7%\n")),
    "image": text(f"\n\n![gen_1]({URL})\n\n"),
    "other": text(f"![gen_2]({OTHER_URL})\n[Click to download]({OTHER_URL}?download=1)\n"),
    "inline": text(f"\n![image](data:image/png;base64,{as_base64(BLACK)})\n"),
    "torn": text("\n![image](data:image/png;base64,abcde)\n"),
    "dalle": text('{"prompt":"A black cat","size":"1024x1024"}'),
    "failed": text("\n> Generation failed ❌\n> Failure reason: output_moderation\n"),
    "sorry": text("I cannot make this image."),
    "sorry-key": text(f"I cannot make this image for {KEY}."),
    "no": chunk(delta(refusal="I will not draw that.")),
    "finish": chunk(delta("stop")),
    "filtered": chunk(delta("content_filter")),
    "usage": chunk(usage=USAGE),
    "done": b"data: [DONE]\n\n",
    "comment": b": ping\n\n",
    "half": text(f"![gen_1]({URL})")[:-9],
    "nonsense": b"data: {nonsense\n\n",
    "malformed": b'data: {"choices":{}}\n\n',
    "error": b'data: {"error":{"message":"It broke","type":"server_error","code":"server_error"}}\n\n',
    "error-word": b'data: {"error":"generation_failed","code":"generation_failed"}\n\n',
    "error-delta": chunk(delta(error="timeout")),
    "whole": completion(f"{FENCE}![gen_1]({URL})"),
    "whole-sorry": completion("I cannot make this image."),
    "whole-empty": completion(""),
    "whole-odd": b'{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}',
    "no-completion": b'{"object":"chat.completion"}',
    "json-error": b'{"error":{"message":"Bad image","type":"invalid_request_error","code":"invalid_image"}}',
    "shown": b"image",
}
MADE, OTHER = MadeImage(URL, None, "A black cat"), MadeImage(OTHER_URL, None, "A black cat")


def conversation(presenter: Presenter | None = None, **fields: Any) -> ImagesToChat:
    return ImagesToChat(
        order(**fields),
        attempt_context(SOLD_BY_IMAGE),
        presenter=presenter or PlainPresenter(),
        count=len,
    )


def body(talk: ImagesToChat) -> dict[str, Any]:
    command = next(talk.converse())
    assert isinstance(command, Send)
    assert (command.method, command.path, command.headers) == ("POST", "/v1/chat/completions", ())
    document: dict[str, Any] = json.loads(command.body)
    return document


def content(talk: ImagesToChat) -> Any:
    (message,) = body(talk)["messages"]
    assert message["role"] == "user"
    return message["content"]


def tell(talk: ImagesToChat, script: str) -> Outcome:
    said, outcome = transcript(talk, script, PIECES)
    assert said.split("\n") == lines(script)
    return outcome
