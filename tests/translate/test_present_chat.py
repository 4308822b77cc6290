"""Images told as a chat completion, read with the types of OpenAI's SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.errors import ResultUnavailable
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Usage
from gateway.translate.commands import Command, Emit, Fetch, Keep
from gateway.translate.present_chat import ChatPresenter
from gateway.wire.answer_cost import AnswerCost

from .images import BLACK, KEPT_URL, OTHER_URL, URL, as_base64, tell

FACTS = ImageFacts()
NAMED = {"id": "chatcmpl-1", "created": 1_764_000_000, "model": "flux-dev"}
USAGE = Usage(7, 2, 5, images=1)


def presenter(stream: bool = False, include_usage: bool = False) -> ChatPresenter:
    return ChatPresenter(
        id="chatcmpl-1", created=1_764_000_000, model="flux-dev", stream=stream, include_usage=include_usage
    )


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The chunks in bytes of a stream."""
    found = []
    for line in filter(None, data.split(b"\n\n")):
        document = json.loads(line.removeprefix(b"data: "))
        ChatCompletionChunk.model_validate(document)
        assert document["object"] == "chat.completion.chunk"
        assert {name: document[name] for name in NAMED} == NAMED
        found.append(document)
    return found


def emitted(said: list[Command]) -> bytes:
    return b"".join(command.data for command in said if isinstance(command, Emit))


def test_a_whole_answer_is_a_completion_of_markdown_images() -> None:
    telling = presenter()
    made = [MadeImage(URL), MadeImage(None, as_base64(BLACK))]
    said, images = tell(telling.deliver(made, FACTS, 2), KEPT_URL)
    assert said == [Keep(BLACK)]
    body = telling.conclude(images, FACTS, USAGE)
    assert body is not None
    ChatCompletion.model_validate_json(body)
    assert json.loads(body) == {
        **NAMED,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": f"![image]({URL})\n![image]({KEPT_URL})",
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 5,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


def test_a_link_that_dies_before_the_answer_is_changed_for_one_of_ours() -> None:
    telling = ChatPresenter(
        id="chatcmpl-1", created=1, model="flux-dev", stream=False, include_usage=False, links_last=False
    )
    said, images = tell(telling.deliver([MadeImage(URL)], FACTS, 1), BLACK, KEPT_URL)
    assert said == [Fetch(URL), Keep(BLACK)]
    body = telling.conclude(images, FACTS, USAGE)
    assert body is not None
    assert json.loads(body)["choices"][0]["message"]["content"] == f"![image]({KEPT_URL})"


def test_usage_that_nobody_knows_is_zero() -> None:
    body = presenter().conclude([MadeImage(URL)], FACTS, None)
    assert body is not None
    usage = ChatCompletion.model_validate_json(body).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (0, 0, 0)


def test_a_link_cannot_break_out_of_the_markdown() -> None:
    body = presenter().conclude([MadeImage("https://a.example/x(1) <b>.png")], FACTS, None)
    assert body is not None
    content = json.loads(body)["choices"][0]["message"]["content"]
    assert content == "![image](https://a.example/x%281%29%20%3Cb%3E.png)"


def test_a_stream_begins_with_the_role_and_brings_one_image_a_line() -> None:
    telling = presenter(stream=True)
    first, _ = tell(telling.deliver([MadeImage(URL)], FACTS, 2))
    second, _ = tell(telling.deliver([MadeImage(OTHER_URL)], FACTS, 2))
    last = telling.conclude([], FACTS, USAGE)
    assert last is not None
    assert last.endswith(b"data: [DONE]\n\n")
    told = chunks(emitted(first) + emitted(second) + last.removesuffix(b"data: [DONE]\n\n"))
    assert [chunk["choices"][0]["delta"] for chunk in told] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": f"![image]({URL})"},
        {"content": f"\n![image]({OTHER_URL})"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in told] == [None, None, None, "stop"]
    assert not any("usage" in chunk for chunk in told)


def test_usage_goes_to_who_asked_for_it() -> None:
    telling = presenter(stream=True, include_usage=True)
    said, _ = tell(telling.deliver([MadeImage(URL)], FACTS, 2))
    last = telling.conclude([], FACTS, USAGE)
    assert last is not None
    told = chunks(emitted(said) + last.removesuffix(b"data: [DONE]\n\n"))
    assert [chunk["usage"] for chunk in told[:-1]] == [None, None, None]
    assert told[-1]["choices"] == []
    assert told[-1]["usage"]["total_tokens"] == 12


def test_the_cost_stands_in_the_usage_of_whoever_gets_one() -> None:
    cost = AnswerCost("0.015")
    asking = presenter(stream=True, include_usage=True).conclude([], FACTS, USAGE, cost)
    assert asking is not None
    assert asking.count(b'"cost":0.015') == 1
    assert chunks(asking.removesuffix(b"data: [DONE]\n\n"))[-1]["usage"]["cost"] == 0.015
    silent = presenter(stream=True).conclude([], FACTS, USAGE, cost)
    assert silent is not None
    assert b"cost" not in silent
    body = presenter().conclude([MadeImage(URL)], FACTS, None, cost)
    assert body is not None
    assert json.loads(body)["usage"] == {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
        "cost": 0.015,
    }


def test_an_image_that_cannot_be_kept_is_shown_as_it_is() -> None:
    made = [MadeImage(None, as_base64(BLACK)), MadeImage(URL)]
    telling = presenter()
    _, images = tell(telling.deliver(made, FACTS, 2), ResultUnavailable("the disk is full"))
    body = telling.conclude(images, FACTS, USAGE)
    assert body is not None
    content = json.loads(body)["choices"][0]["message"]["content"]
    assert content == f"![image](data:image/png;base64,{as_base64(BLACK)})\n![image]({URL})"

    said, images = tell(presenter(stream=True).deliver(made, FACTS, 2), ResultUnavailable("the disk is full"))
    assert as_base64(BLACK).encode() in emitted(said)
    assert [image.b64 for image in images] == [None, None]  # what was sent is not kept in memory


def test_one_that_cannot_be_read_is_left_out() -> None:
    made = [MadeImage(None, "no base64!"), MadeImage(URL)]
    assert tell(presenter().deliver(made, FACTS, 2))[1] == (MadeImage(URL),)
    with pytest.raises(ResultUnavailable, match="cannot be read"):
        tell(presenter().deliver(made[:1], FACTS, 2))


def test_progress_is_a_comment_and_previews_are_not_shown() -> None:
    said, _ = tell(presenter(stream=True).progress("64%"))
    assert said == [Emit(b": progress 64%\n\n", meaningful=False, optional=True)]
    assert tell(presenter().progress("64%")) == ([], None)
    assert tell(presenter(stream=True).partial(as_base64(BLACK), 0, FACTS)) == ([], None)
