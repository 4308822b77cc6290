"""Pictures found in answers that upstreams wrote: where they stand, and what only looks like one."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.pictures import MOST, MOST_TEXT, Picture, said, shown_of

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
B64 = base64.b64encode(PNG).decode()
LINK = "https://cdn.example/a/b.png"


def chat(text: object) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def pictures_in(document: Any) -> list[tuple[str, str, str]]:
    """What is found: base64, name, link of each."""
    return [(one.encoded, one.name, one.link) for one in shown_of(orjson.dumps(document)).pictures]


def picture(encoded: str = "", name: str = "", link: str = "") -> tuple[str, str, str]:
    return encoded, name, link


def links(text: str) -> list[str]:
    return [link for *_, link in pictures_in(chat(text))]


def test_an_answer_of_the_images_api_has_bytes_or_links_in_their_order() -> None:
    document = {"created": 1, "data": [{"b64_json": B64}, {"url": LINK, "revised_prompt": "a http://x/y.png"}]}
    assert pictures_in(document) == [picture(encoded=B64), picture(link=LINK)]


def test_a_response_has_them_in_its_image_calls_alone() -> None:
    call = {"type": "image_generation_call", "status": "completed", "result": B64}
    other = {"type": "code_interpreter_call", "result": "1 + 1"}
    assert pictures_in({"object": "response", "output": [other, call]}) == [picture(encoded=B64)]
    assert pictures_in({"output": [{**call, "result": None}]}) == []


def test_a_link_that_this_gateway_lends_is_known_by_its_name() -> None:
    link = "http://127.0.0.1:8400/images/Abc-_9.png"
    assert pictures_in({"data": [{"url": link}]}) == [picture(name="Abc-_9.png", link=link)]
    for foreign in (
        f"{link}?x=1",
        f"{link}/more",
        "http://h/other/images/a.png",
        "http://h/images/a%2Fb",
        "http://h/images/",
    ):
        assert pictures_in({"data": [{"url": foreign}]}) == [picture(link=foreign)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Here: ![a lighthouse]({LINK})", [LINK]),
        ("![](https://cdn.example/no-ending)", ["https://cdn.example/no-ending"]),
        (f"It is at {LINK} now", [LINK]),
        (f"<{LINK}> [{LINK}]({LINK})", [LINK]),
        ("https://h/signed.png?sig=a%2Fb&exp=1", ["https://h/signed.png?sig=a%2Fb&exp=1"]),
        ("https://h/A.PNG", ["https://h/A.PNG"]),
        ("[a page](https://cdn.example/page.html)", []),
        ("ftp://h/a.png javascript:alert(1).png file:///a.png //h/a.png", []),
        ("![x](javascript:alert(1))", []),
        (f"![a]b]({LINK[:-4]})", []),
        (f"!x]({LINK[:-4]})", []),
        ("https://", []),
        ("", []),
    ],
)
def test_the_text_of_a_chat_is_read_as_any_answers(text: str, found: list[str]) -> None:
    assert links(text) == found


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "webp", "gif"])
def test_a_link_is_known_by_its_ending(ending: str) -> None:
    assert links(f"It is at https://h/a.{ending}\n") == [f"https://h/a.{ending}"]


def test_what_is_named_twice_is_shown_once() -> None:
    assert links(f"{LINK} and again ![]({LINK})") == [LINK]


def test_a_page_shows_so_many_at_most() -> None:
    assert len(links(" ".join(f"https://h/{number}.png" for number in range(MOST + 9)))) == MOST


@pytest.mark.parametrize("unit", ["http://", "https://a", "![", "![x", "http://a.", "![](http://", "https://h/.png."])
def test_a_text_that_is_made_to_be_slow_is_not(unit: str) -> None:
    """A look at it holds all requests up: it takes time by its length, which is bounded, and not by its square. A
    quadratic one takes half a minute here, which ends by the test's own limit."""
    text = (unit * 1_000_000)[:MOST_TEXT]
    for _ in range(20):
        shown_of(orjson.dumps(chat(text)))


def test_a_citation_of_a_page_is_no_picture() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": LINK}}
    assert pictures_in({"choices": [{"message": {"content": "See [1].", "annotations": [cited]}}]}) == []


def test_the_parts_of_a_message_are_its_text() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": f"![]({LINK})"}, {"type": "other"}]
    assert said(chat(parts)) == f"one ![]({LINK})"
    assert pictures_in(chat(parts)) == [picture(link=LINK)]


def test_an_answer_may_be_nested_as_deep_as_json_is_read_and_what_is_none_shows_nothing() -> None:
    nested = shown_of(b'{"data": ' + b"[" * 1_000 + b"]" * 1_000 + b"}")
    assert (nested.pictures, nested.text) == ((), "")
    for odd in (b"", b"null", b"[]", b'"text"', b"data: {}", b"\xff"):
        assert shown_of(odd).pictures == ()


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["b64_json", "url", "content", "result", "type", "data", "output", "choices", "message"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(document=documents)
def test_any_answer_is_looked_through_without_a_fault(document: Any) -> None:
    for found in shown_of(json.dumps(document).encode()).pictures:
        assert bool(found.encoded) is not bool(found.link)


def test_pictures_of_megabytes_are_never_compared() -> None:
    assert Picture(encoded="a") != Picture(encoded="a")
