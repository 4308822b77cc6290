"""Which words are a refusal of the prompt, and which only are not understood."""

from __future__ import annotations

import pytest

from gateway.wire.image_text import read_answer
from gateway.wire.refusal_words import is_refused


@pytest.mark.parametrize(
    "words",
    [
        "I can't draw that.",
        "I will not.",
        "I'm sorry, but I can't help with that.",
        "Sorry, I am unable to create images that depict real people.",
        "This image cannot be made; it goes against the rules.",
        "This request violates our content policy.",
        "The prompt was flagged.",
        "I wasn't able to generate that due to our content guidelines.",
        "We're unable to edit this picture because of content restrictions.",
        "抱歉，我无法为您生成这张图片。",
        "该内容违反了我们的使用政策。",
        "未能通过内容审核",
        "Ich kann dieses Bild leider nicht erstellen.",
        "Lo siento, no puedo crear esa imagen.",
        "input_moderation",
    ],
)
def test_refusals(words: str) -> None:
    assert is_refused(words)
    assert read_answer(words).against_rules


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Your picture is ready, see the attachment.",
        "Here is your violent storm.",
        "I cannot display it here, but the picture is done.",
        "I wasn't able to generate the image because there's a rate limit in place. Please wait a few minutes.",
        "We could not create your image: the server is busy, try again later.",
        "服务器繁忙，无法生成图片，请稍后重试",
        "Here it is: file-service://abc",
        "timeout",
        "Done!",
        "作成しました。",
        "x" * 10_000 + " violates our content policy",
    ],
)
def test_other_words(words: str) -> None:
    assert not is_refused(words)


def test_a_failure_without_a_reason_is_no_refusal() -> None:
    for text in ("> Generation failed ❌", "> 生成失败 ❌\n> 失败原因：timeout", '{"type":"terminal","code":"other"}'):
        said = read_answer(text)
        assert said.failure is not None
        assert not said.against_rules


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["cannot ", "no puedo ", "a b c ", "content ", "无法", "kann a ", "against a a "])
def test_words_made_to_be_slow_are_read_in_one_pass(unit: str) -> None:
    is_refused(unit * 100_000)
