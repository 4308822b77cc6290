"""A chat with an image model: its last user message is the order."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.core.errors import ClientError
from gateway.core.images.types import ImagesRequest, SourceImage
from gateway.wire.chat_images import asks_for_images, flux_fields, images_from_chat
from gateway.wire.chat_request import parse_chat_request
from gateway.wire.images_request import MAX_PROMPT

from .test_image_bytes import drawn

PNG = drawn("png", 3, 2)
URL = "https://example.com/a.png"
B64 = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{B64}"
FROM_URL, FROM_PNG = SourceImage(url=URL), SourceImage(PNG, None, "image/png", 3, 2)


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


def test_only_the_last_user_messages_words_count():
    messages = [
        {"role": "system", "content": "be brief"},
        user("a dog"),
        {"role": "assistant", "content": "there you are"},
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
    "url", ["", "a.png", "file:///etc/passwd", "data:image/png;base64,x", base64.b64encode(b"none").decode()]
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
        ([text("x"), {"type": "image_url", "image_url": 1}], "invalid_type", "messages[0].content[1].image_url"),
        ([text("x"), {"type": "input_image"}], "missing_required_parameter", "messages[0].content[1].image_url"),
        (
            [text("x"), {"type": "file", "file": {"file_id": "file-1"}}],
            "file_not_found",
            "messages[0].content[1].file.file_id",
        ),
        (
            [text("x"), {"type": "input_image", "file_id": "file-1"}],
            "file_not_found",
            "messages[0].content[1].file_id",
        ),
        (
            [text("x"), {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}],
            "invalid_value",
            "messages[0].content[1].file.file_data",
        ),
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
    status = 404 if code == "file_not_found" else 400
    assert (caught.value.status, caught.value.code, caught.value.param) == (status, code, param)


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


class TestPictures:
    """An image that came with a chat is never dropped, in whatever form and message it came."""

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "image_url", "image_url": URL},
            {"type": "image_url", "url": URL},
            {"type": "input_image", "image_url": URL, "detail": "auto"},
            {"type": "input_image", "image_url": {"url": URL}},
            {"type": "image", "image": URL},
            {"type": "image", "image": {"url": URL}},
            {"type": "image", "image_url": {"url": URL}},
            {"type": "image", "source": {"type": "url", "url": URL}},
            {"type": "source", "source": URL},
            {"type": "file", "file": {"file_data": URL, "filename": "a.png"}},
            {"type": "file", "url": URL, "mediaType": "image/png"},
            {"type": "text", "text": f"![in]({URL})"},
            {"type": "text", "text": f'<img alt="in" src="{URL}">'},
        ],
    )
    def test_of_every_kind_of_part(self, part):
        request = order(user(text("a hat"), part))
        assert (request.kind, request.prompt.strip(), request.images) == ("edit", "a hat", (FROM_URL,))

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "image_url", "image_url": {"url": B64}},
            {"type": "image_url", "image_url": B64.rstrip("=")},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
            {"type": "image", "data": B64, "mimeType": "image/png"},
            {"type": "inline_data", "inline_data": {"mime_type": "image/png", "data": B64}},
            {"type": "media", "media_type": "image/png", "data": B64},
            {"type": "picture", "url": DATA_URL},
            {"type": "file", "file": {"file_data": DATA_URL, "filename": "a.png", "format": "image/png"}},
            {"type": "input_file", "file_data": DATA_URL},
            {
                "type": "input_image",
                "image_url": DATA_URL.replace("+", "-").replace("/", "_").replace("image_", "image/"),
            },
        ],
    )
    def test_as_base64(self, part):
        assert order(user(part, text("a hat"))).images == (FROM_PNG,)

    @pytest.mark.parametrize("images", [[B64], [DATA_URL], [{"type": "image_url", "image_url": {"url": DATA_URL}}]])
    def test_beside_the_content(self, images):
        assert order({"role": "user", "content": "a hat", "images": images}).images == (FROM_PNG,)

    @pytest.mark.parametrize(
        "before",
        [
            [user(image(URL))],
            [user(text("a dog"), image(URL)), {"role": "assistant", "content": "there you are"}],
            [user("a dog"), {"role": "assistant", "content": f"![image]({URL})"}],
            [user("a dog"), {"role": "assistant", "content": [text(f"Here: ![image]({URL})")]}],
            [user("a dog"), {"role": "assistant", "content": "Here", "images": [image(URL)]}],
            [user("a dog"), {"role": "assistant", "content": URL}],
            [user("a dog"), {"role": "assistant", "content": f"[download]({URL})"}],
            [user("a dog"), {"role": "assistant", "content": f'<img src="{URL}">'}],
            [user(text("a dog"), image(DATA_URL)), {"role": "assistant", "content": f"![image]({URL})"}, user("hm")],
        ],
    )
    def test_of_an_earlier_message_the_newest(self, before):
        request = order(*before, user("make it winter"))
        assert (request.kind, request.prompt, request.images) == ("edit", "make it winter", (FROM_URL,))

    def test_of_the_last_message_come_first(self):
        request = order(user(image(URL)), user(text("a hat"), image(DATA_URL)))
        assert request.images == (FROM_PNG,)

    def test_that_were_sent_together_stay_together_where_the_model_takes_them(self):
        messages = [user(text("two"), image(URL), image(DATA_URL)), user("join them")]
        assert order(*messages).images == (FROM_URL, FROM_PNG)
        chat = parse_chat_request({"model": "flux-dev", "messages": messages})
        assert images_from_chat(chat, one_source=True).images == (FROM_PNG,)

    def test_of_a_tool_are_taken_and_those_of_instructions_are_examples(self):
        tool = {"role": "tool", "tool_call_id": "c", "content": [image(URL), image(DATA_URL)]}
        assert order(user("hi"), tool, user("make it winter")).images == (FROM_PNG,)
        rules = {"role": "system", "content": [text("like this"), image(URL)]}
        assert order(rules, user("a cat")).kind == "generation"

    def test_a_plain_link_in_words_is_words(self):
        words = f"a poster that says {URL}"
        assert order(user(words)) == ImagesRequest("generation", "flux-schnell", words)

    def test_a_web_page_that_was_named_is_no_picture(self):
        said = {"role": "assistant", "content": "see https://example.com/help and [this](https://example.com/page)"}
        assert order(user("hi"), said, user("a cat")).kind == "generation"

    def test_need_no_words_for_a_variation(self):
        chat = parse_chat_request({"model": "flux-redux", "messages": [user(image(URL))]})
        request = images_from_chat(chat, wordless=True)
        assert (request.kind, request.prompt, request.images) == ("edit", "", (FROM_URL,))
        empty = parse_chat_request({"model": "flux-redux", "messages": [user(" ")]})
        with pytest.raises(ClientError):
            images_from_chat(empty, wordless=True)


@pytest.mark.parametrize(
    ("modalities", "asked"), [(["image", "text"], True), (["text"], False), (None, False), (5, False)]
)
def test_whether_images_are_read_beside_the_content(modalities, asked):
    assert asks_for_images({"modalities": modalities}) is asked
