"""gpt-4o-image over chat: images come as markdown links inside the text, which differs from relay to relay.

Variants (``variant=…``), after what was seen of PiAPI and of relays of its family. With images:

    piapi       fenced JSON, task id, percents, gen_id, one image
    a           the same in Chinese, as of April 2025
    b           English with emoji; the last percent is a link that is not the result; a download link an image
    c           Chinese, with preview links before the image
    d           no fence, bold percents, a download link
    e           a reasoning-style block, the image's URL as its own alt text
    deltas      the family's chunks: the fence by pieces, bare percents a delta each, sid, a link to a film
    reasoning   the progress comes in ``reasoning_content``, the text is the image alone
    base64      the image itself as a data URL, over several deltas
    downgraded  the old DALL·E tool's order (``size``, no ``ratio``), a word, the image

Without, each with finish_reason stop unless said otherwise:

    failed      in-band failure in Chinese, a terminal JSON block
    failed_en   the same in English, with reason and suggestion, no terminal JSON
    bare_failed the same in Chinese without a fence; the order itself speaks of failure and quotes an image
    input_moderation, output_moderation   an in-band failure with this reason, no terminal JSON
    terminal    a terminal JSON block and no word about failure
    refused     the DALL·E tool's order and plain words instead of an image
    text_only   plain words only
    silent      no text at all
    error_delta ``delta: {"error": …}`` and then a normal stop
    error_string  ``data: {"error": "generation_failed"}`` and ``[DONE]``
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.chat.completions import Json, Stamp, chunk_event, count_prompt, delta_choice, malformed
from gateway.sandbox.chat.messages import last_text
from gateway.sandbox.images.png import image, image_by_name, image_name
from gateway.sandbox.wire.answers import DONE, Answer, Event, EventStream, Sale, json_reply
from gateway.sandbox.wire.errors import refusal
from gateway.sandbox.wire.options import Options

_SIZE = re.compile(r"\b([1-9]\d{2,3})x([1-9]\d{2,3})\b")
_RATIOS = {"1:1": (1024, 1024), "3:2": (1536, 1024), "2:3": (1024, 1536)}


@dataclass(frozen=True, slots=True)
class Order:
    """What an image's text speaks of. ``task``: the id of the work; ``urls``: where the images are."""

    prompt: str
    ratio: str
    task: str
    urls: tuple[str, ...]

    @property
    def fence(self) -> str:
        wanted: dict[str, Any] = {"prompt": self.prompt, "ratio": self.ratio}
        if len(self.urls) > 1:
            wanted["n"] = len(self.urls)
        return "```\n" + orjson.dumps(wanted, option=orjson.OPT_INDENT_2).decode() + "\n```"

    @property
    def dalle(self) -> str:
        """What DALL·E's tool was called with."""
        return orjson.dumps({"prompt": self.prompt, "size": "1024x1024"}).decode()

    @property
    def terminal(self) -> str:
        ending = {
            "type": "terminal",
            "results_by_frame_index": {},
            "code": "other",
            "is_output_rejection": False,
            "task_id": f"task_{self.task}",
        }
        return "```json\n" + orjson.dumps(ending).decode() + "\n```"


Variant = Callable[[Order], Iterator[str]]
"""The pieces of an answer's text, one a delta."""


def answer_image_chat(body: Json, options: Options, *, id: str, created: int, site: str) -> Answer:
    """``site``: the base URL of this sandbox, where the images can be fetched."""
    if (problem := malformed(body)) is not None:
        return problem
    messages = body["messages"]
    if not body.get("stream"):
        return refusal(400, message="Sandbox: gpt-4o-image can only be used in stream mode.")
    order = _order(last_text(messages), options, id, site)
    pieces = list(VARIANTS[options.variant](order)) if options.variant in VARIANTS else []
    images = len(order.urls) if options.variant in PAINTED else 0
    sale = Sale(body["model"], count_prompt(messages), 0, len(pieces), images, flat=True)
    stamp = Stamp(id, created, body["model"], None)
    message = {"role": "assistant", "content": "".join(pieces)}
    thoughts = _THOUGHTS if options.variant == "reasoning" else ()
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = json_reply(200, {"id": id, "object": "chat.completion", "created": created, "choices": choices}, sale=sale)
    return EventStream(_events(stamp, thoughts, pieces, images, options.variant), whole, sale)


def _order(prompt: str, options: Options, id: str, site: str) -> Order:
    size, ratio = _SIZE.search(prompt), next((ratio for ratio in _RATIOS if ratio in prompt), "1:1")
    width, height = (int(size[1]), int(size[2])) if size else _RATIOS[ratio]
    names = (image_name(f"{prompt}{number}", width, height) for number in range(options.images))
    return Order(prompt, ratio, id.rpartition("-")[2], tuple(f"{site}/files/{name}" for name in names))


def _events(stamp: Stamp, thoughts: tuple[str, ...], pieces: list[str], images: int, variant: str) -> Iterator[Event]:
    def event(kind: Any, delta: Mapping[str, Any], finish: str | None = None, **goods: int) -> Event:
        return chunk_event(stamp, kind, delta_choice(0, delta, finish), null_usage=False, **goods)

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


def _gen(url: str) -> str:
    return url.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _images(order: Order, download: str = "") -> str:
    links = []
    for url in order.urls:
        links.append(f"![{_gen(url)}]({url})")
        if download:
            links.append(f"[{download}]({url}?download=1)")
    return "\n\n".join(links)


def _progress(url: str) -> str:
    """A link that looks like a result and is none."""
    return f"{url}?progress=100"


def _piapi(order: Order) -> Iterator[str]:
    yield order.fence
    yield f"\n\n\n\n> ID: `task_{order.task}`\n> Queuing"
    yield from (".", "\n> Generating", ".", ".", ".", ".", ".")
    yield from ("\n> Progress 15%.", "\n> Progress 64%..", "\n> Generation complete ✅")
    yield f"\n\n> gen_id: `{_gen(order.urls[0])}`\n\n"
    yield _images(order)


def _variant_a(order: Order) -> Iterator[str]:
    yield order.fence
    yield f"\n\n\n\n> ID: `task_{order.task}`\n> 排队中"
    yield from (".", "\n> 生成中", ".", ".", "\n> 进度 15%.", "\n> 进度 64%..", "\n> 生成完成 ✅")
    yield f"\n\n> gen_id: `{_gen(order.urls[0])}`\n\n"
    yield _images(order)


def _variant_b(order: Order) -> Iterator[str]:
    yield order.fence
    yield from (
        "\n\n>🕐 Queuing",
        ".",
        ".",
        ".",
        "\n\n>⚡ Generating",
        ".",
        ".",
        "\n\n>🏃 Progress ",
        "7..",
        "35...",
        "57...",
    )
    yield f"[100]({_progress(order.urls[0])})"
    yield "\n\n> ✅ Generation complete\n\n\n"
    yield _images(order, "Click to download")


def _variant_c(order: Order) -> Iterator[str]:
    yield order.fence
    preview = order.urls[0].replace("/files/", "/web/")
    yield f"\n\n> ID: `{order.task}`\n>[数据预览]({preview}) | [原始数据]({preview}?source=1)\n>🕐 排队中"
    yield from (".", "\n\n>⚡ 生成中", ".", ".", "\n\n>🏃 进度 ", "36..", "72..")
    yield f"[100]({_progress(order.urls[0])})"
    yield "\n\n> ✅ 生成完成\n\n\n"
    yield _images(order, "点击下载")


def _variant_d(order: Order) -> Iterator[str]:
    wanted = {"prompt": order.prompt, "referenced_image_ids": ["file-sandbox"]}
    yield orjson.dumps(wanted, option=orjson.OPT_INDENT_2).decode()
    yield from ("\n\n> 进度 **2%**", "\n\n\n> 进度 **34%**", "\n\n\n")
    yield _images(order, "下载⏬")


def _variant_e(order: Order) -> Iterator[str]:
    yield "```think\nSandbox.\n```\n"
    yield "> 🎨 生成中"
    yield from (".", ".", ".", "\n\n")
    yield "\n\n".join(f"![{url}]({url})\n\n[点击下载]({url}?download=1)" for url in order.urls)


def _deltas(order: Order) -> Iterator[str]:
    yield from ("```", "json", "\n", "{\n", " ", ' "', "prompt", '":', " ", orjson.dumps(order.prompt).decode())
    yield from ("\n", "}\n", "```")
    preview = order.urls[0].replace("/files/", "/web/")
    yield f"\n\n> ID: `task_{order.task}`\n>[数据预览]({preview}) | [原始数据]({preview}?source=1)\n> 排队中"
    yield from (".", ".", ".", "\n> 生成中", ".", "\n\n>🏃 进度 36..", "44..", "61..", "69..", "81..")
    images = "\n".join(f"![{url}]({url})\n[在线播放▶️]({url}?film=1)" for url in order.urls)
    yield f"\n\n> 生成完成 ✅\n> sid: s_{order.task}\n\n{images}"


_THOUGHTS = ("✨ 图片生成任务已启动\n", "生成进度: 35%\n", "生成进度: ", "70", "%\n")


def _reasoning(order: Order) -> Iterator[str]:
    yield _images(order)


def _base64(order: Order) -> Iterator[str]:
    """The links lead to images of the sandbox, so it knows the bytes behind them."""
    yield order.fence
    yield "\n\n> Progress 99%\n"
    for url in order.urls:
        encoded = base64.b64encode(image_by_name(url.rpartition("/")[2]) or image(1024, 1024)).decode()
        half = len(encoded) // 2
        yield from ("\n\n![image](data:image/png;base64,", encoded[:half], encoded[half:] + ")")


def _downgraded(order: Order) -> Iterator[str]:
    yield order.dalle
    yield "Sandbox: here it is.\n\n"
    yield _images(order)


def _failed(order: Order) -> Iterator[str]:
    yield order.fence
    yield from ("\n\n>🕐 排队中.", "\n\n> 生成失败 ❌", "\n> 失败原因：input_moderation\n\n\n")
    yield order.terminal


def _failed_english(order: Order) -> Iterator[str]:
    yield order.fence
    yield f"\n\n> ID: `task_{order.task}`\n> Queuing."
    yield "\n\n> Generation failed ❌\n> Failure reason: output_moderation"
    yield "\nReason: Sandbox: the image was moderated.\nSuggestion: Sandbox: change the prompt.\n"


def _bare_failed(order: Order) -> Iterator[str]:
    quoting = f"{order.prompt}; Generation failed ![quoted]({order.urls[0]})"
    wanted = {"prompt": quoting, "referenced_image_ids": ["file-sandbox"]}
    yield orjson.dumps(wanted, option=orjson.OPT_INDENT_2).decode()
    yield from ("\n\n> 进度 **2%**", "\n\n\n> 生成失败 ❌", "\n> 失败原因：output_moderation\n")


def _moderated(reason: str) -> Variant:
    def text(order: Order) -> Iterator[str]:
        yield order.fence
        yield from ("\n\n>🕐 排队中.", "\n\n> 生成失败 ❌", f"\n> 失败原因：{reason}\n")

    return text


def _terminal(order: Order) -> Iterator[str]:
    yield order.fence
    yield from ("\n\n>🕐 Queuing", ".", ".", "\n\n\n")
    yield order.terminal


_NO = "Sandbox: this image cannot be made; it goes against the rules."


def _refused(order: Order) -> Iterator[str]:
    yield order.dalle
    yield from _text_only(order)


def _text_only(order: Order) -> Iterator[str]:
    return iter(re.findall(r" ?\S+", _NO))


def _nothing(order: Order) -> Iterator[str]:
    return iter(())


_PAINTED: Mapping[str, Variant] = {
    "piapi": _piapi,
    "a": _variant_a,
    "b": _variant_b,
    "c": _variant_c,
    "d": _variant_d,
    "e": _variant_e,
    "deltas": _deltas,
    "reasoning": _reasoning,
    "base64": _base64,
    "downgraded": _downgraded,
}
PAINTED = frozenset(_PAINTED)
"""The variants with an image in them."""

VARIANTS: Mapping[str, Variant] = {
    **_PAINTED,
    "failed": _failed,
    "failed_en": _failed_english,
    "bare_failed": _bare_failed,
    "input_moderation": _moderated("input_moderation"),
    "output_moderation": _moderated("output_moderation"),
    "terminal": _terminal,
    "refused": _refused,
    "text_only": _text_only,
    "silent": _nothing,
    "error_delta": _nothing,
    "error_string": _nothing,
}
