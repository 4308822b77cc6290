"""A chat with an image model: its last user message is the order."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.wire.chat_images import flux_fields, images_from_chat
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.images_request import MAX_PROMPT

from .test_image_bytes import drawn

PNG = drawn("png", 3, 2)
URL = "https://example.com/a.png"
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if type(content[0]) is str else list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def order(*messages: dict[str, Any], **fields: Any) -> ImagesRequest:
    return images_from_chat(parse_chat_request({"model": "flux-schnell", "messages": list(messages), **fields}))


def refusal(*messages: dict[str, Any], **fields: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        order(*messages, **fields)
    assert (caught.value.status, caught.value.code) == (400, "invalid_value")
    assert f"'{caught.value.param}'" in caught.value.message
    return caught.value


def test_words_alone_are_a_generation():
    assert order(user("a cat")) == ImagesRequest("generation", "flux-schnell", "a cat")


def test_only_the_last_user_message_counts():
    messages = [
        {"role": "system", "content": "be brief"},
        user(text("a dog"), image(URL)),
        {"role": "assistant", "content": "![a dog](https://example.com/dog.png)"},
        user("a cat"),
        {"role": "assistant", "content": None},
    ]
    assert order(*messages) == ImagesRequest("generation", "flux-schnell", "a cat")


def test_images_make_it_an_edit():
    request = order(user(image(URL), text("a hat"), image(DATA_URL), {"type": "other"}, text("a monocle")))
    assert (request.kind, request.prompt) == ("edit", "a hat\na monocle")
    assert request.images == (SourceImage(url=URL), SourceImage(PNG, None, "image/png", 3, 2))


def test_the_stream_is_as_asked_and_other_fields_mean_nothing():
    request = order(user("a cat"), stream=True, temperature=0.5, max_tokens=5, seed=7, user="u", n=1)
    assert request == ImagesRequest("generation", "flux-schnell", "a cat", stream=True)


@pytest.mark.parametrize(
    "last",
    [
        user(""),
        user(" \n"),
        user(text("")),
        user(image(URL)),
        user(image(URL), text(" ")),
        {"role": "user", "content": []},
        {"role": "user", "content": None},
        {"role": "user"},
        user("x" * (MAX_PROMPT + 1)),
        user(text("x"), *[image(URL)] * 17),
    ],
)
def test_a_last_message_without_a_usable_prompt_is_refused_whatever_came_before(last):
    assert refusal(user("a cat"), last).param == "messages"


def test_a_chat_without_a_user_is_refused():
    assert refusal({"role": "system", "content": "a cat"}).param == "messages"


@pytest.mark.parametrize(
    "url", ["", "a.png", "file:///etc/passwd", "data:image/png;base64,x", base64.b64encode(PNG).decode()]
)
def test_a_part_that_is_no_image_is_named(url):
    error = refusal({"role": "system", "content": "x"}, user(text("a hat"), image(url)))
    assert error.param == "messages[1].content[1].image_url.url"


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (5, "invalid_type", "messages[0].content"),
        ({"type": "text", "text": "a cat"}, "invalid_type", "messages[0].content"),
        (["a cat"], "invalid_type", "messages[0].content[0]"),
        ([None], "invalid_type", "messages[0].content[0]"),
        ([{"text": "a cat"}], "missing_required_parameter", "messages[0].content[0].type"),
        ([{"type": "text"}], "missing_required_parameter", "messages[0].content[0].text"),
        ([{"type": "text", "text": 5}], "invalid_type", "messages[0].content[0].text"),
        ([text("x"), {"type": "image_url"}], "missing_required_parameter", "messages[0].content[1].image_url"),
        ([text("x"), {"type": "image_url", "image_url": URL}], "invalid_type", "messages[0].content[1].image_url"),
        (
            [text("x"), {"type": "image_url", "image_url": {}}],
            "missing_required_parameter",
            "messages[0].content[1].image_url.url",
        ),
        (
            [text("x"), {"type": "image_url", "image_url": {"url": 1}}],
            "invalid_type",
            "messages[0].content[1].image_url.url",
        ),
    ],
)
def test_the_message_that_is_the_order_is_checked_to_the_letter(content, code, param):
    with pytest.raises(ClientError) as caught:
        order({"role": "user", "content": content})
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


def test_messages_that_are_not_the_order_may_have_any_shape():
    odd = [{}, {"role": 5}, {"role": ["user"]}, {"content": {}}, {"role": "user", "content": 5}, {"role": "robot"}]
    assert order(*odd, user("a cat"), {"role": "assistant", "content": 7}).prompt == "a cat"
    assert order(user(text("a cat"), {"type": ["odd"]}, {"type": {}})).prompt == "a cat"


def test_several_choices_are_refused():
    error = refusal(user("a cat"), n=2)
    assert error.param == "n"
    assert "/v1/images/generations" in error.message


class TestFluxFields:
    """What extra_body may add to a chat with a Flux model."""

    def test_are_taken_out_of_the_body(self):
        body = {"model": "flux-dev", "messages": [], "seed": 7, "steps": 20, "denoise": None, "lora_settings": []}
        assert flux_fields(body) == {"steps": 20, "lora_settings": []}
        assert body == {"model": "flux-dev", "messages": [], "seed": 7}

    def test_go_with_the_order(self):
        request = parse_chat_request({"model": "flux-dev", "messages": [{"role": "user", "content": "a cat"}]})
        assert images_from_chat(request, {"steps": 20}).flux == {"steps": 20}
