"""Task answers as PiAPI writes them, and the shorthand of transcripts about tasks (see ``transcript.py``).

>> 200: pending      a whole JSON answer: its head, its bytes by name, its end, and the waits between
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from gateway.core.images.task_order import TaskOrder, TaskWebhook
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Credential, Endpoint, Outcome, Price, Target, Upstream
from gateway.telemetry.redaction import Redactor
from gateway.translate.commands import Conversation, Emit, Fetch
from gateway.translate.context import AttemptContext
from gateway.translate.images_to_task import ImagesToTask
from gateway.translate.presenting import Delivering, Emitting, Presenter
from gateway.wire.answer_head import Head

from .transcript import Pieces, Told, lines, transcript

KEY = "piapi-0123456789abcdefghijklmnopqrstuvwxyz"
API = Endpoint("https://api.piapi.ai", "https", "api.piapi.ai", 443, wall=120)
PROXY = Endpoint("https://proxy.piapi.ai", "https", "proxy.piapi.ai", 443)
PIAPI = Upstream("piapi", "piapi", (API, PROXY), (Credential("first", KEY),))
FLUX = Target(PIAPI, "Qubico/flux1-dev", operation="task", price=Price(image=15_000_000))
POINTS_PER_USD = 10_000_000
ID = "1631d053-2352-4add-95cc-360fc52d5f89"
LINK = "https://img.theapi.app/temp/one.png"
SECOND_LINK = "https://img.theapi.app/temp/two.png"
NO_ERROR = {"code": 0, "raw_message": "", "message": "", "detail": None}
CONTEXT = AttemptContext(FLUX, API, wall_seconds=1_700_000_000.0, redact=Redactor([KEY]).data)
ORDER = TaskOrder(
    model="Qubico/flux1-dev",
    task_type="txt2img",
    input={"prompt": "a bear", "width": 1024, "height": 1024},
    config={},
    batch=1,
    size="1024x1024",
)


def answer(data: object, *, code: int = 200, message: str = "success") -> bytes:
    return orjson.dumps({"code": code, "data": data, "message": message})


def task(status: str, *, id: str = ID, consume: int = 0, error: object = NO_ERROR, **fields: Any) -> bytes:
    """One answer about a task; its fields are those of the seed's examples, ``fields`` replaces or adds to them."""
    data = {
        "task_id": id,
        "model": "Qubico/flux1-dev",
        "task_type": "txt2img",
        "status": status,
        "config": {"service_mode": "", "webhook_config": {"endpoint": "", "secret": ""}},
        "input": {"prompt": "a bear"},
        "output": None,
        "meta": {"usage": {"type": "point", "frozen": 0, "consume": consume}, "is_using_private_pool": False},
        "detail": None,
        "logs": [],
        "error": error,
    }
    return answer(data | fields)


def done(consume: int = 150_000, **output: Any) -> bytes:
    return task("completed", consume=consume, output=output or {"image_url": LINK, "image_base64": ""})


def failed(words: str) -> bytes:
    return task("failed", error={"code": 10000, "raw_message": "", "message": words, "detail": None})


def shown(body: bytes) -> bytes:
    """An answer as a client of the relay sees it: without the gateway's own webhook."""
    document = orjson.loads(body)
    del document["data"]["config"]["webhook_config"]
    return orjson.dumps(document)


PIECES: Pieces = {
    "pending-shown": shown(task("pending", consume=20_000)),
    "done-shown": shown(done()),
    "pending": task("pending", consume=20_000),
    "processing": task("Processing"),
    "staged": task("Staged"),
    "odd": task("warming up the brushes"),
    "done": done(),
    "failed": failed("task failed"),
    "refused": answer(None, code=400, message="invalid model"),
    "missing": answer(None, code=404, message="task not found"),
    "limited": answer(None, code=429, message="too many requests"),
    "broken": answer(None, code=500, message="internal error"),
    "page": b"<!DOCTYPE html><html><title>api.piapi.ai | 524: A timeout occurred</title></html>",
    "nonsense": b'{"code": 200, "data": {"task',
    "ping": b": processing\n\n",
    "bytes": b"\x89PNG the first",
    "others": b"\x89PNG the second",
}
"""What transcripts call their bytes."""

_WHOLE = re.compile(r">> (\d{3}): (.*)")


def spelled_out(text: str) -> str:
    """The transcript without its shorthand."""
    out: list[str] = []
    for line in map(str.strip, lines(text)):
        whole = _WHOLE.fullmatch(line)
        if whole is None:
            out.append(line)
        else:
            out += [f">> {whole[1]} application/json", "<< receive content", f">> {whole[2]}"]
            out += ["<< receive content", ">> (end)"]
    return "\n".join(out)


def tell(talk: Conversation, text: str, more: Mapping[str, bytes] | None = None) -> Outcome:
    """Play a transcript and hold it against what was said. ``more``: pieces of this one alone."""
    wanted = spelled_out(text)
    said, outcome = transcript(talk, wanted, {**PIECES, **(more or {})})
    assert said == wanted
    return outcome


def whole(body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> list[Told]:
    """A whole answer for ``play``; JSON if no header says otherwise."""
    pieces = [body, b""] if body else [b""]
    return [Head(status, (*headers, (b"content-type", b"application/json"))), *pieces]


class Easel:
    """A presenter that fetches every link and shows what it got."""

    stream = True

    def progress(self, text: str) -> Emitting:
        yield Emit(b": " + text.encode() + b"\n\n", meaningful=False, optional=True)

    def partial(self, b64: str, index: int, facts: ImageFacts) -> Emitting:
        yield Emit(b64.encode())

    def deliver(self, made: Sequence[MadeImage], facts: ImageFacts, asked: int) -> Delivering:
        for image in made:
            data = image.b64.encode() if image.url is None and image.b64 else b""
            if image.url is not None:
                fetched = yield Fetch(image.url)
                assert isinstance(fetched, bytes)
                data = fetched
            yield Emit(data)
        return tuple(made)

    def conclude(self, images: object, facts: object, usage: object, cost: object = None) -> bytes | None:
        return None


def conversation(
    n: int = 1,
    webhook: TaskWebhook | None = None,
    jitter: Callable[[], float] = lambda: 0.5,
    order: TaskOrder = ORDER,
    presenter: Presenter | None = None,
) -> ImagesToTask:
    """An order, about to be tried."""
    return ImagesToTask(
        order,
        CONTEXT,
        n=n,
        presenter=presenter or Easel(),
        points_per_usd=POINTS_PER_USD,
        jitter=jitter,
        webhook=webhook,
    )
