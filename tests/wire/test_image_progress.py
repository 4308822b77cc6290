"""How far gpt-4o-image is, from whatever has come of its text."""

from __future__ import annotations

import pytest

from gateway.wire.image_text import ImageTextReader, read_answer

LINK = "https://videos.openai.com/assets%2Ftask_01/50%/60_src_0.png?st=2025-04-03T01%3A55%3A56Z&n=70.. 80"


def test_percents_arrive_as_bare_deltas() -> None:
    reader = ImageTextReader()
    seen = []
    for delta in ("\n> 排队中", ".", "\n\n>🏃 进度 36..", "44..", "6", "1..", "100", "..", "\n> 生成完成 ✅", "\n"):
        reader.feed(delta)
        seen.append(reader.progress)

    assert seen == [None, None, 36, 44, 44, 61, 61, 100, 100, 100], "a number counts once it has ended"


def test_a_number_at_the_end_counts_when_nothing_more_comes() -> None:
    reader = ImageTextReader()
    reader.feed("> Progress 4")
    assert (reader.progress, reader.result().progress) == (None, 4)

    reader.feed("2")
    assert (reader.progress, reader.result().progress) == (None, 42), "and having looked changes nothing"

    reader.feed("%")
    assert (reader.progress, reader.result().progress) == (42, 42)


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("> Progress 15%.", 15),
        ("> 进度 64%..", 64),
        ("> 进度 **34%**", 34),
        (">🏃 Progress 7....13....25...27...", 27),
        (f">🏃 Progress 57...[100]({LINK})", 100),
        ("Progress: 12", 12),
        ("🏃 进度：12", 12),
        ("> 生成进度36%", 36),
        ("> Generating… 45%", 45),
        ("> PROGRESS 0", 0),
        ("> Progress 36.5%", 36),
        ("> Progress 15%\n> Progress 23%\n> Queuing.", 23),
        ("> 进度 15%\r\n> 进度 23%\r\n", 23),
        ("> Progress 101%", None),
        ("> Progress 1000..", None),
        ("> Progress 3/10", None),
        ("> Progress 12s, 12秒", None),
        ("> Progressive 12", None),
        ("> ID: `task_01%`\n> Queuing 3rd", None),
        (f">[数据预览]({LINK}) | [原始数据]({LINK})", None),
        (f"> Progress {LINK}", None),
        ("50% of the time it fails", None),
        ('```\n{\n  "prompt": "Progress 80%, 进度 80%"\n}\n```', None),
        ('{"Progress 80%": 1}', None),
        ("Generating\n36..", None),
        ("", None),
    ],
)
def test_what_counts_as_progress(text: str, percent: int | None) -> None:
    assert read_answer(text).progress == percent
    for position in range(len(text) + 1):
        reader = ImageTextReader()
        reader.feed(text[:position])
        reader.feed(text[position:])
        assert reader.result().progress == percent


@pytest.mark.parametrize(
    ("thoughts", "percent"),
    [
        ("✨ 图片生成任务已启动\n", None),
        ("生成进度: 35%\n", 35),
        ("**Image Generation Progress**: 9% (running, 12 s)\n", 12),
        ("About 70% done", 70),
        ("It takes 70 s", None),
    ],
)
def test_thoughts_tell_progress_too(thoughts: str, percent: int | None) -> None:
    assert read_answer("", thoughts).progress == percent

    reader = ImageTextReader()
    for character in thoughts:
        reader.feed("", character)
    assert reader.result().progress == percent


def test_the_text_has_the_last_word() -> None:
    reader = ImageTextReader()
    reader.feed("", "35%\n")
    assert reader.progress == 35

    reader.feed("> 进度 40..", "45%\n")
    assert reader.progress == 40
    assert reader.result() == read_answer("> 进度 40..", "35%\n45%\n")
