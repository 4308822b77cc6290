"""What holds for the reading of any text: it raises nothing, no split matters, and images are found."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.base64_text import PLACEHOLDER_MARK
from gateway.wire.image_text import ImageTextReader, image_links, read_answer

SITE = "https://filesystem.site/cdn/"
SHREDS = (
    *("![", "[", "](", "]", "(", ")", "<", ">", "> ", "\n", "\r", "\r\n", " ", "```", "```json\n", "\n```\n", '"', "'"),
    *(
        "{",
        '{"',
        "}",
        '"prompt": ',
        '"size": ',
        "\\",
        '{"prompt": "x"}',
        '{"type":"terminal"',
        ":",
        "：",
        ".",
        "..",
        "%",
    ),
    *("Progress ", "progre", "ss", "进", "度", "进度", "https", "://", "7", "36", "100", "é", "ſ", "_", "/", "x", "秒"),
    *("Generation failed", "失败原因：", "input_moderation", "Reason: ", "ID: ", "Queuing", f"![x]({SITE}a.png)"),
    "https://oaidalleapiprodscus.blob.core.windows.net/a",
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(SHREDS), max_size=40).map("".join))


@settings(max_examples=200)
@given(text=TEXTS, thoughts=TEXTS, data=st.data())
def test_any_text_by_any_split_says_the_same_as_whole(text: str, thoughts: str, data: st.DataObject) -> None:
    whole = read_answer(text, thoughts)
    reader = ImageTextReader()
    for piece in pieces(text, data):
        reader.feed(piece)
        reader.result()  # looking must change nothing
    for piece in pieces(thoughts, data):
        reader.feed("", piece)

    assert reader.result() == whole
    assert list(whole.images) == image_links(text)
    assert len(set(whole.images)) == len(whole.images)
    assert [bool(whole.images), whole.failure is not None, whole.refusal is not None].count(True) <= 1
    assert all(words is None or 0 < len(words) <= 1000 for words in (whole.failure, whole.refusal))
    assert whole.progress is None or 0 <= whole.progress <= 100
    orjson.dumps([whole.revised_prompt, whole.failure, whole.refusal, whole.images])


def pieces(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=200)
@given(
    # the mark of placeholders is never kept in a prompt
    prompt=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=PLACEHOLDER_MARK), max_size=40),
    fence=st.sampled_from(["```\n%s\n```\n", "```json\n%s\n```\n", "```json\n%s```", "%s\n", "\n%s"]),
    planted=st.lists(
        st.tuples(
            st.text("abc[]!", max_size=0) | st.sampled_from(["gen_1", "a [b]", "下载", SITE]),
            st.from_regex(r"[a-z0-9]{1,6}\.(?:png|webp)(?:\?[a-z]=%2F[0-9]{1,2})?", fullmatch=True),
            st.sampled_from(
                ["\n", "\n\n> 进度 7..[100](https://x.example/a.png)\n", f"\n[点击下载]({SITE}z.png)\n", "![", "!"]
            ),
        ),
        max_size=5,
    ),
)
def test_exactly_the_planted_images_are_found(prompt: str, fence: str, planted: list[tuple[str, str, str]]) -> None:
    """The order quotes an image and fences, and every sort of link stands between the images."""
    order = orjson.dumps({"prompt": f"{prompt}\n```\n![quoted]({SITE}quoted.png) Generation failed"}).decode()
    text = fence % order + "".join(f"![{name}]({SITE}{file}){after}" for name, file, after in planted)

    said = read_answer(text)

    assert said.images == tuple(dict.fromkeys(SITE + file for _, file, _ in planted))
    assert said.revised_prompt == orjson.loads(order)["prompt"]
    assert (said.failure, said.refusal) == (None, None)
