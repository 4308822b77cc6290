"""The texts of gpt-4o-image's answers, which differ from relay to relay.

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
    downgraded  the call of the old DALL·E tool (``size``, no ``ratio``), a word, the image

Without, each with finish_reason stop unless said otherwise:

    failed      in-band failure in Chinese, a terminal JSON block
    failed_en   the same in English, with reason and suggestion, no terminal JSON
    bare_failed the same in Chinese without a fence; the prompt itself speaks of failure and quotes an image
    input_moderation, output_moderation   an in-band failure with this reason, no terminal JSON
    terminal    a terminal JSON block and no word about failure
    refused     the call of the DALL·E tool and plain words instead of an image
    text_only   plain words only
    unclear     words that are neither a picture nor a refusal
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

from gateway.sandbox.images.png import draw_image, image_by_name


@dataclass(frozen=True, slots=True)
class ImageJob:
    """The image job that an answer's text reports on. ``task``: its id; ``urls``: where the images are."""

    prompt: str
    ratio: str
    task: str
    urls: tuple[str, ...]

    @property
    def fenced_request(self) -> str:
        wanted: dict[str, Any] = {"prompt": self.prompt, "ratio": self.ratio}
        if len(self.urls) > 1:
            wanted["n"] = len(self.urls)
        return "```\n" + orjson.dumps(wanted, option=orjson.OPT_INDENT_2).decode() + "\n```"

    @property
    def dalle_request(self) -> str:
        """The call of DALL·E's tool."""
        return orjson.dumps({"prompt": self.prompt, "size": "1024x1024"}).decode()

    @property
    def terminal_block(self) -> str:
        ending = {
            "type": "terminal",
            "results_by_frame_index": {},
            "code": "other",
            "is_output_rejection": False,
            "task_id": f"task_{self.task}",
        }
        return "```json\n" + orjson.dumps(ending).decode() + "\n```"


TextVariant = Callable[[ImageJob], Iterator[str]]
"""A text's pieces, one a delta."""


def _gen(url: str) -> str:
    return url.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _images(job: ImageJob, download: str = "") -> str:
    links = []
    for url in job.urls:
        links.append(f"![{_gen(url)}]({url})")
        if download:
            links.append(f"[{download}]({url}?download=1)")
    return "\n\n".join(links)


def _progress(url: str) -> str:
    """A link that looks like a result and is none: its text is a percentage."""
    return f"{url}?progress=100"


def _piapi(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
    yield f"\n\n\n\n> ID: `task_{job.task}`\n> Queuing"
    yield from (".", "\n> Generating", ".", ".", ".", ".", ".")
    yield from ("\n> Progress 15%.", "\n> Progress 64%..", "\n> Generation complete ✅")
    yield f"\n\n> gen_id: `{_gen(job.urls[0])}`\n\n"
    yield _images(job)


def _variant_a(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
    yield f"\n\n\n\n> ID: `task_{job.task}`\n> 排队中"
    yield from (".", "\n> 生成中", ".", ".", "\n> 进度 15%.", "\n> 进度 64%..", "\n> 生成完成 ✅")
    yield f"\n\n> gen_id: `{_gen(job.urls[0])}`\n\n"
    yield _images(job)


def _variant_b(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
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
    yield f"[100]({_progress(job.urls[0])})"
    yield "\n\n> ✅ Generation complete\n\n\n"
    yield _images(job, "Click to download")


def _variant_c(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
    preview = job.urls[0].replace("/files/", "/web/")
    yield f"\n\n> ID: `{job.task}`\n>[数据预览]({preview}) | [原始数据]({preview}?source=1)\n>🕐 排队中"
    yield from (".", "\n\n>⚡ 生成中", ".", ".", "\n\n>🏃 进度 ", "36..", "72..")
    yield f"[100]({_progress(job.urls[0])})"
    yield "\n\n> ✅ 生成完成\n\n\n"
    yield _images(job, "点击下载")


def _variant_d(job: ImageJob) -> Iterator[str]:
    wanted = {"prompt": job.prompt, "referenced_image_ids": ["file-sandbox"]}
    yield orjson.dumps(wanted, option=orjson.OPT_INDENT_2).decode()
    yield from ("\n\n> 进度 **2%**", "\n\n\n> 进度 **34%**", "\n\n\n")
    yield _images(job, "下载⏬")


def _variant_e(job: ImageJob) -> Iterator[str]:
    yield "```think\nSandbox.\n```\n"
    yield "> 🎨 生成中"
    yield from (".", ".", ".", "\n\n")
    yield "\n\n".join(f"![{url}]({url})\n\n[点击下载]({url}?download=1)" for url in job.urls)


def _deltas(job: ImageJob) -> Iterator[str]:
    yield from ("```", "json", "\n", "{\n", " ", ' "', "prompt", '":', " ", orjson.dumps(job.prompt).decode())
    yield from ("\n", "}\n", "```")
    preview = job.urls[0].replace("/files/", "/web/")
    yield f"\n\n> ID: `task_{job.task}`\n>[数据预览]({preview}) | [原始数据]({preview}?source=1)\n> 排队中"
    yield from (".", ".", ".", "\n> 生成中", ".", "\n\n>🏃 进度 36..", "44..", "61..", "69..", "81..")
    images = "\n".join(f"![{url}]({url})\n[在线播放▶️]({url}?film=1)" for url in job.urls)
    yield f"\n\n> 生成完成 ✅\n> sid: s_{job.task}\n\n{images}"


def _reasoning(job: ImageJob) -> Iterator[str]:
    yield _images(job)


def _base64(job: ImageJob) -> Iterator[str]:
    """Images as data URLs: the links lead to images of the sandbox, so the bytes behind them are known."""
    yield job.fenced_request
    yield "\n\n> Progress 99%\n"
    for url in job.urls:
        encoded = base64.b64encode(image_by_name(url.rpartition("/")[2]) or draw_image(1024, 1024)).decode()
        half = len(encoded) // 2
        yield from ("\n\n![image](data:image/png;base64,", encoded[:half], encoded[half:] + ")")


def _downgraded(job: ImageJob) -> Iterator[str]:
    yield job.dalle_request
    yield "Sandbox: here it is.\n\n"
    yield _images(job)


def _failed(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
    yield from ("\n\n>🕐 排队中.", "\n\n> 生成失败 ❌", "\n> 失败原因：input_moderation\n\n\n")
    yield job.terminal_block


def _failed_english(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
    yield f"\n\n> ID: `task_{job.task}`\n> Queuing."
    yield "\n\n> Generation failed ❌\n> Failure reason: output_moderation"
    yield "\nReason: Sandbox: the image was moderated.\nSuggestion: Sandbox: change the prompt.\n"


def _bare_failed(job: ImageJob) -> Iterator[str]:
    quoting = f"{job.prompt}; Generation failed ![quoted]({job.urls[0]})"
    wanted = {"prompt": quoting, "referenced_image_ids": ["file-sandbox"]}
    yield orjson.dumps(wanted, option=orjson.OPT_INDENT_2).decode()
    yield from ("\n\n> 进度 **2%**", "\n\n\n> 生成失败 ❌", "\n> 失败原因：output_moderation\n")


def _moderated(reason: str) -> TextVariant:
    def text(job: ImageJob) -> Iterator[str]:
        yield job.fenced_request
        yield from ("\n\n>🕐 排队中.", "\n\n> 生成失败 ❌", f"\n> 失败原因：{reason}\n")

    return text


def _terminal(job: ImageJob) -> Iterator[str]:
    yield job.fenced_request
    yield from ("\n\n>🕐 Queuing", ".", ".", "\n\n\n")
    yield job.terminal_block


_NO = "Sandbox: this image cannot be made; it goes against the rules."


def _refused(job: ImageJob) -> Iterator[str]:
    yield job.dalle_request
    yield from _text_only(job)


def _text_only(job: ImageJob) -> Iterator[str]:
    return iter(re.findall(r" ?\S+", _NO))


def _unclear(job: ImageJob) -> Iterator[str]:
    yield from (job.fenced_request, "\n\nSandbox: your picture waits at", " file-service://sandbox-1.")


def _nothing(job: ImageJob) -> Iterator[str]:
    return iter(())


_PAINTED: Mapping[str, TextVariant] = {
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
VARIANTS_WITH_IMAGES = frozenset(_PAINTED)
"""The variants with an image in them."""

VARIANTS: Mapping[str, TextVariant] = {
    **_PAINTED,
    "failed": _failed,
    "failed_en": _failed_english,
    "bare_failed": _bare_failed,
    "input_moderation": _moderated("input_moderation"),
    "output_moderation": _moderated("output_moderation"),
    "terminal": _terminal,
    "refused": _refused,
    "text_only": _text_only,
    "unclear": _unclear,
    "silent": _nothing,
    "error_delta": _nothing,
    "error_string": _nothing,
}
