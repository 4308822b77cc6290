"""The forms in which relays hand over a picture, by name (``form=…``): seen in texts, beside them, and as documents.

Of a chat (gpt-4o-image), in its text: ``TEXTS``; in fields of its deltas: ``DELTAS``; as what an Images API would
answer, in place of a chat's answer: ``DOCUMENTS``. Of an Images API (gpt-image-1): ``ITEMS`` write one picture
otherwise, ``ANSWERS`` the whole answer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from gateway.sandbox.images.png import draw_image, image_by_name

_HEAD = "data:image/png;base64,"


@dataclass(frozen=True)
class Picture:
    """A picture of the sandbox, behind its link."""

    url: str

    @cached_property
    def b64(self) -> str:
        data = image_by_name(self.url.rpartition("/")[2]) or draw_image(1024, 1024)
        return base64.b64encode(data).decode()

    @property
    def unpadded(self) -> str:
        return self.b64.rstrip("=")

    @property
    def url_safe(self) -> str:
        return self.unpadded.replace("+", "-").replace("/", "_")

    @property
    def lines(self) -> str:
        """As tools write it, 76 characters a line."""
        return "\n".join(self.b64[at : at + 76] for at in range(0, len(self.b64), 76))


def _json(content: Any) -> str:
    return orjson.dumps(content).decode()


TEXTS: Mapping[str, Callable[[Picture], str]] = {
    "bare_link": lambda one: one.url,
    "link_on_its_line": lambda one: f"Sandbox: here it is.\n\n{one.url}\n\nAnything else?",
    "link_in_a_sentence": lambda one: f"Sandbox: the picture is at {one.url}.",
    "angle_link": lambda one: f"Sandbox: <{one.url}>",
    "listed_link": lambda one: f"Sandbox:\n\n1. `{one.url}`",
    "reference": lambda one: f"![Sandbox][1]\n\n[1]: {one.url}",
    "download_link": lambda one: f"> Generation complete ✅\n\n[Click to download ⏬]({one.url})",
    "view_link": lambda one: f"Sandbox: [view the picture]({one.url})",
    "html_link": lambda one: f'<a href="{one.url}" target="_blank">Download</a>',
    "html_image": lambda one: f'<img src="{one.url}" alt="Sandbox">',
    "html_image_single_quotes": lambda one: f"Sandbox:\n<IMG alt='a > b' width=64 src='{one.url}' />",
    "html_image_bare": lambda one: f"<img width=64 src={one.url}>",
    "html_data": lambda one: f'<img alt="Sandbox" src="{_HEAD}{one.b64}">',
    "linked_image": lambda one: f"[![Sandbox]({one.url})]({one.url}?download=1)",
    "fenced_link": lambda one: f"Sandbox:\n```\n{one.url}\n```",
    "json_text": lambda one: _json({"image_url": one.url, "status": "sandbox"}),
    "json_fenced": lambda one: f"```json\n{_json({'data': [{'b64_json': one.b64}]})}\n```",
    "data_url": lambda one: f"Sandbox: {_HEAD}{one.b64}",
    "data_url_lines": lambda one: f"{_HEAD}{one.lines}\n\nSandbox.",
    "data_broken": lambda one: f"![image]({_HEAD}{one.lines})",
    "data_unpadded": lambda one: f"![image]({_HEAD}{one.unpadded})",
    "data_url_safe": lambda one: f"![image]({_HEAD}{one.url_safe})",
    "data_charset": lambda one: f"![image](data:image/png;charset=utf-8;base64,{one.b64})",
    "data_octet_stream": lambda one: f"![image](data:application/octet-stream;base64,{one.b64})",
    "data_untyped": lambda one: f"![image](data:;base64,{one.b64})",
    "data_blanks": lambda one: f"![image]( data:image/png; base64, {one.lines}\n )",
    "data_link": lambda one: f"[Click to download]({_HEAD}{one.b64})",
    "data_in_two_places": lambda one: f"![image]({_HEAD}{one.b64})\n\n{_HEAD}{one.b64}",
}
"""Texts of an answer."""

_Deltas = Callable[[Picture], Iterator[dict[str, Any]]]


def _beside(*images: Callable[[Picture], Any]) -> _Deltas:
    """Deltas with words, then with pictures in ``images``."""

    def deltas(one: Picture) -> Iterator[dict[str, Any]]:
        yield {"content": "Sandbox: here it is."}
        for image in images:
            yield {"content": "", "images": [image(one)]}

    return deltas


def _part(part: Callable[[Picture], dict[str, Any]]) -> _Deltas:
    """A delta whose content is an array of parts."""

    def deltas(one: Picture) -> Iterator[dict[str, Any]]:
        yield {"content": [{"type": "text", "text": "Sandbox: here"}, part(one)]}

    return deltas


def _openrouter(one: Picture) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": _HEAD + one.b64}, "index": 0}


DELTAS: Mapping[str, _Deltas] = {
    "delta_images": _beside(_openrouter),
    "delta_images_link": _beside(lambda one: {"type": "image_url", "image_url": {"url": one.url}}),
    "delta_images_texts": _beside(lambda one: _HEAD + one.b64),
    "delta_images_links": _beside(lambda one: one.url),
    "delta_images_url": _beside(lambda one: {"url": one.url}),
    "delta_images_b64": _beside(lambda one: {"b64_json": one.url_safe}),
    "delta_images_again": _beside(_openrouter, _openrouter),
    "delta_images_octet_stream": _beside(lambda one: {"url": f"data:application/octet-stream;base64,{one.lines}"}),
    "part_image_url": _part(lambda one: {"type": "image_url", "image_url": {"url": one.url}}),
    "part_image_url_text": _part(lambda one: {"type": "image_url", "image_url": _HEAD + one.b64}),
    "part_output_image": _part(lambda one: {"type": "output_image", "image_url": one.url}),
    "part_output_image_b64": _part(lambda one: {"type": "output_image", "b64_json": one.b64}),
    "part_image": _part(lambda one: {"type": "image", "image": one.b64}),
    "part_image_source": _part(
        lambda one: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": one.b64}}
    ),
    "part_inline_data": _part(lambda one: {"inline_data": {"mime_type": "image/png", "data": one.b64}}),
    "part_file": _part(lambda one: {"type": "file", "file": {"filename": "a.png", "file_data": _HEAD + one.b64}}),
    "message_images": lambda one: iter(
        [{"message": {"content": "Sandbox:"}}, {"message": {"content": "Sandbox: done", "images": [_openrouter(one)]}}]
    ),
    "message_text": lambda one: iter(
        {"message": {"content": text}}
        for text in ("Sandbox: ", f"Sandbox: ![image]({one.url})", f"Sandbox: ![image]({one.url}) Done.")
    ),
}
"""Deltas of an answer; one that is a ``message`` stands in place of a delta."""

DOCUMENTS: Mapping[str, Callable[[Picture], dict[str, Any]]] = {
    "images_answer": lambda one: {"created": 1, "data": [{"url": one.url}]},
    "images_answer_b64": lambda one: {"created": 1, "data": [{"b64_json": one.b64, "revised_prompt": "Sandbox"}]},
    "images_answer_images": lambda one: {"images": [{"url": one.url}]},
    "images_answer_texts": lambda one: {"images": [_HEAD + one.b64]},
    "images_answer_event": lambda one: {"type": "image_generation.completed", "b64_json": one.b64},
    "images_answer_wordy": lambda one: {"code": 200, "message": "success", "data": [{"url": one.url}]},
    "images_answer_task": lambda one: {"code": 200, "message": "success", "data": {"output": {"image_url": one.url}}},
    "images_answer_call": lambda one: {"output": [{"type": "image_generation_call", "result": one.b64}]},
}
"""What an Images API, a task or a Responses API would answer, sent by a chat."""

CHAT_FORMS = (*TEXTS, *DELTAS, *DOCUMENTS)

ITEMS: Mapping[str, Callable[[Picture], Any]] = {
    "item_unpadded": lambda one: {"b64_json": one.unpadded},
    "item_url_safe": lambda one: {"b64_json": one.url_safe},
    "item_broken": lambda one: {"b64_json": one.lines},
    "item_data_url": lambda one: {"b64_json": _HEAD + one.b64},
    "item_charset": lambda one: {"b64_json": f"data:image/png;charset=utf-8;base64,{one.b64}"},
    "item_octet_stream": lambda one: {"url": f"data:application/octet-stream;base64,{one.unpadded}"},
    "item_untyped": lambda one: {"url": f"data:;base64,{one.b64}"},
    "item_bytes_as_url": lambda one: {"url": one.b64},
    "item_link": lambda one: {"url": one.url},
    "item_link_as_bytes": lambda one: {"b64_json": one.url},
    "item_image_url": lambda one: {"type": "image_url", "image_url": {"url": one.url}},
    "item_base64": lambda one: {"image_base64": one.b64},
}
"""One picture of an Images API's answer, in its data or its event."""

ANSWERS: Mapping[str, Callable[[Picture], dict[str, Any]]] = {
    "answer_images": lambda one: {"images": [{"url": one.url}]},
    "answer_images_texts": lambda one: {"images": [_HEAD + one.b64]},
    "answer_texts": lambda one: {"data": [one.b64]},
    "answer_object": lambda one: {"data": {"b64_json": one.b64}},
    "answer_enveloped": lambda one: {"code": 200, "message": "success", "data": {"images": [{"url": one.url}]}},
    "answer_chat": lambda one: {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": f"![image]({one.url})"}}]
    },
}
"""A whole answer of an Images API."""

IMAGES_FORMS = (*ITEMS, *ANSWERS)
