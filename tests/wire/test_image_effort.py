"""No text takes long to read, whatever it is made of and however it is split: the effort grows with its length."""

from __future__ import annotations

import pytest

from gateway.wire.image_text import MOST_TEXT, ImageTextReader, read_answer

MADE_TO_BE_SLOW = (
    *(
        "![",
        "[",
        "]",
        "![a](",
        "![a](http://x(",
        '![a](http://x "',
        "![a](http://x '\"",
        "![a](data:image/x;base64,",
        "[[",
    ),
    *(
        "```",
        "```\n",
        "```x\n",
        "```{}{}",
        "> ",
        ">\n",
        "\n",
        "\r",
        " ",
        "\t\n",
        "(",
        "x",
        "1",
        "1.",
        "1%",
        "progress ",
        "进",
    ),
    *('{"', '{"\\"', '"\\', "{}", '{"a":', '{"type":"terminal"', '{"type":"terminal"}', "{ ", "https://", "http"),
    *(
        "> Progress 1",
        "failure reason:",
        "reason:",
        "input_moderation",
        "_moderation",
        "ID:",
        "a[b](",
        "https://oaidalleapiprod",
    ),
)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("beginning", ["", '```json\n{"prompt":"x"}> Progress '])
@pytest.mark.parametrize("unit", MADE_TO_BE_SLOW)
def test_text_made_to_be_slow_is_read_in_one_pass(unit: str, beginning: str) -> None:
    """A pattern that tried again from every start would need hours for these; they take milliseconds."""
    text = beginning + unit * (120_000 // len(unit))

    assert read_answer(text, text).images == ()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["1", "> Progress 36..\n", '![a](http://x "'])
def test_as_much_as_may_come_in_single_characters_costs_as_much_as_it_is_long(unit: str) -> None:
    text = unit * (MOST_TEXT // len(unit))
    reader = ImageTextReader()
    for character in text:
        reader.feed(character)
        assert reader.progress in (None, 36)

    assert reader.result() == read_answer(text)


def test_an_image_of_many_megabytes_in_the_text_is_taken_in_stride() -> None:
    image = "data:image/png;base64," + "iVBORw0KGgo/+" * 2_000_000

    assert read_answer(f"![x]({image})").images == (image,)
