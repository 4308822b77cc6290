"""The images in what gpt-4o-image answers, in each of the forms seen on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.images.types import MOST_READ
from gateway.wire.image_text import MOST_TEXT, ImageTextReader, image_links, read_answer

PIAPI = "https://storage.theapi.app/image/gen-26c1c535-9b8a-4986-af98-0d02f207c456.png"
SIGNED = (
    "https://videos.openai.com/vg-assets/assets%2Ftask_01jq%2Fsrc_0.png"
    "?st=2025-04-03T01%3A55%3A56Z&se=2025-04-09T02%3A55%3A56Z&sig=abc%2B%3D"
)
CDN = "https://filesystem.site/cdn/20250623/VqWUYzWhHIONRij5YTYWIPG5SudtB0.png"
CDN_2 = "https://filesystem.site/cdn/20250623/SHbz.png"
DOWNLOAD = CDN.replace("/cdn/", "/cdn/download/")
PROMPT = '```\n{\n  "prompt": "a cat",\n  "ratio": "1:1"\n}\n```\n\n'

VARIANTS = {
    "PiAPI, 2025-04": (
        PROMPT + "\n\n> ID: `task_1`\n> Queuing.\n> Generating.....\n> Progress 15%.\n> Generation complete ✅\n\n"
        f"> gen_id: `gen_01`\n\n![gen_01]({PIAPI})",
        [PIAPI],
    ),
    "April 2025, Chinese, signed address": (
        PROMPT + "\n\n> ID: `task_1`\n> 排队中.\n> 生成中.....\n> 进度 64%..\n> 生成完成 ✅\n\n> gen_id: `gen_01`\n\n"
        f"![gen_01jqwtksnne8mtahpxcdyzna0m]({SIGNED})",
        [SIGNED],
    ),
    "June 2025, two images, progress link, download links": (
        PROMPT + ">🕐 Queuing........\n\n>⚡ Generating...\n\n>🏃 Progress 7....13....57...[100](" + SIGNED + ")\n\n"
        f"> ✅ Generation complete\n\n\n![gen_a]({CDN})\n\n[Click to download]({DOWNLOAD})\n\n"
        f"![gen_b]({CDN_2})\n\n[Click to download]({DOWNLOAD})",
        [CDN, CDN_2],
    ),
    "March 2026, Chinese, preview links": (
        PROMPT
        + "> ID: `0a1b`\n>[数据预览](https://pro.asyncdata.net/web/0a1b) | [原始数据](https://pro.asyncdata.net/source/0a1b)\n"
        f">🕐 排队中.\n>⚡ 生成中.....\n>🏃 进度 72..[100]({SIGNED})\n> ✅ 生成完成\n\n"
        f"![gen_a]({CDN})\n\n[点击下载]({DOWNLOAD})",
        [CDN],
    ),
    "gpt-4o-all: no fence, bold progress": (
        '{\n  "prompt": "...",\n  "referenced_image_ids": ["file-1"]\n}\n\n> 进度 **2%**\n\n\n> 进度 **34%**\n\n\n'
        f"![file_000000007a5451f7b4c098cb3d95dace]({CDN})\n[下载⏬]({DOWNLOAD})",
        [CDN],
    ),
    "sora_image: the alternative text is the address": (
        f"> 🎨 生成中...\n\n![{CDN}]({CDN})\n\n[点击下载]({DOWNLOAD})",
        [CDN],
    ),
    "thoughts in a fence": (f"```think\nperhaps ![this](https://example.com/a.png)\n```\n\n![x]({CDN})", [CDN]),
    "moderation": (
        PROMPT + ">🕐 排队中.\n\n> 生成失败 ❌\n> 失败原因：input_moderation\n\n\n"
        '```json\n{"type":"terminal","code":"other","task_id":"task_1"}\n```',
        [],
    ),
    "a refusal in words": ('{"prompt":"x","size":"1024x1024"}I wasn\'t able to generate the image.', []),
    "only a progress link": (f">🏃 Progress 57...[100]({SIGNED})", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_variants_on_the_wire(name: str) -> None:
    text, links = VARIANTS[name]
    assert image_links(text) == links
    assert image_links(text.replace("\n", "\r\n")) == links


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (f"![a]({CDN}) ![b]({CDN_2}) ![c]({CDN})", [CDN, CDN_2]),
        (f"![]({CDN})", [CDN]),
        (f"![a [b] c]({CDN})", [CDN]),
        (f'![a]({CDN} "a title")', [CDN]),
        (f"![a]( <{CDN}> )", [CDN]),
        ("![a](https://example.com/a_(1).png)", ["https://example.com/a_(1).png"]),
        ("![a](HTTP://EXAMPLE.COM/a.png)", ["HTTP://EXAMPLE.COM/a.png"]),
        (f"[![a]({CDN})]({DOWNLOAD})", [CDN]),
        (f"![no image] and [a page]({CDN}.html)", []),
        (f"![a]({CDN} 'it is \"quoted\"')", [CDN]),
        ("![a](data:image/png;base64,AA+/==)", ["data:image/png;base64,AA+/=="]),
        ("![a](data:text/html;base64,AAAA)", []),
        ("![a](data:image/png,AAAA)", []),
        ("![a](/relative.png)", []),
        ("![a](https://example.com/cut-off", []),
        (f"! [a]({CDN}.txt)", []),
    ],
)
def test_what_markdown_counts_as_an_image(text: str, links: list[str]) -> None:
    assert image_links(text) == links


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (f"```json\n{{}}\n![quoted]({CDN})\n```\n![result]({CDN_2})", [CDN_2]),
        (f"```\nnever closed\n![result]({CDN})", [CDN]),
        (f"```one line```\n![result]({CDN})\n```\nx\n```", [CDN]),
        (f"  ```\n![quoted]({CDN})\n  ```  \nWait.", []),
        (f"```markdown\n![result]({CDN})\n```\n", [CDN]),
    ],
)
def test_fences_hold_the_prompt_and_no_result(text: str, links: list[str]) -> None:
    assert image_links(text) == links


@pytest.mark.parametrize(
    "unit", ["![", "![a", "![a](", "![a](http://", "![a](http://x(", "```x\n", "![[", '![a](http://x "', "("]
)
def test_text_made_to_be_slow_is_read_in_one_pass(unit: str) -> None:
    """A pattern that tried again from every start would need hours for these; they take milliseconds."""
    assert image_links(unit * (400_000 // len(unit))) == []


@given(
    st.lists(
        st.sampled_from(["![", "]", "(", ")", "https://x", "a", " ", "\n", "```", "<", ">", '"', "!["]), max_size=30
    )
)
def test_only_addresses_are_found_and_each_once(parts: list[str]) -> None:
    links = image_links("".join(parts))
    assert all(link.startswith("https://x") and " " not in link for link in links)
    assert len(set(links)) == len(links)


def test_words_without_end_are_not_taken_in() -> None:
    reader = ImageTextReader()
    reader.feed("![x](https://a.example/1.png)\n" + "data:image/png;base64," + "iVBORw0KGgo" * 200_000 + "\n")
    assert not reader.too_long
    reader.feed("id\n" * (MOST_TEXT // 3))
    assert reader.too_long
    reader.feed("![y](https://a.example/2.png)")
    assert reader.result().images == ("https://a.example/1.png",)


def test_thoughts_without_end_are_not_taken_in() -> None:
    reader = ImageTextReader()
    reader.feed("", "Progress 7%\n")
    reader.feed("", " " * MOST_TEXT)
    reader.feed("", "Progress 9%\n")
    assert reader.result().progress == 7


def test_no_more_images_are_read_than_any_answer_has() -> None:
    many = "\n".join(f"![x](https://a.example/{number}.png)" for number in range(1000))
    assert read_answer(many).images == tuple(f"https://a.example/{number}.png" for number in range(MOST_READ))
    assert len(image_links(many)) == MOST_READ


def test_a_reason_is_looked_for_where_reasons_stand() -> None:
    assert read_answer("I am sorry. " + "so " * 20_000 + "\nGeneration failed").failure is not None
    assert read_answer("I am sorry. " + "so " * 60_000 + "\nGeneration failed").failure is None


@pytest.mark.parametrize("words", ["I cannot show {}.", "Generation failed\nReason: no {}."])
def test_words_are_told_without_megabytes_of_base64(words: str) -> None:
    answer = read_answer(words.format("base64," + "iVBORw0KGgo" * 1000))
    assert (answer.failure or answer.refusal or "").endswith("base64,….")
