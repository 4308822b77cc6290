"""Which of the links in an answer's text are its pictures."""

from __future__ import annotations

import base64

import pytest

from gateway.wire.base64_text import standard_base64
from gateway.wire.image_text import ImageTextReader, read_answer
from gateway.wire.picture_address import picture_at

A, B = "https://cdn.example/a.png", "https://cdn.example/b.png"
BARE = "https://cdn.example/files/1"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 8
B64 = base64.b64encode(PNG).decode()
LINES = "\n".join(B64[at : at + 76] for at in range(0, len(B64), 76))


@pytest.mark.parametrize(
    ("text", "links"),
    [
        (A, [A]),
        (BARE, [BARE]),
        (f"{A}\n{B}", [A, B]),
        (f"Here:\n\n{A}\n\nEnjoy.", [A]),
        (f"Here:\n\n{BARE}", [BARE]),
        (f"Here:\n- {A}\n- {B}", [A, B]),
        (f"1. <{A}>", [A]),
        (f"**{A}**", [A]),
        (f"`{A}`", [A]),
        (f"Image: {A}.", [A]),
        (f"It is at {A}, and a second one at {B}.", [A, B]),
        (f"![x][1]\n\n[1]: {A}", [A]),
        (f"```\n{A}\n```", [A]),
        (f"{A}?sig=a%2Fb&x=(1)", [f"{A}?sig=a%2Fb&x=(1)"]),
        ("https://cdn.example/get?format=png&id=1", ["https://cdn.example/get?format=png&id=1"]),
        (f"[Click to download]({A})", [A]),
        (f"[点击下载]({BARE})", [BARE]),
        (f"Download: {BARE}", [BARE]),
        (f"Done! **Download link:** {BARE}.", [BARE]),
        (f"[Download ⏬](<{A}>)", [A]),
        (f"[open]({A}) [Download]({B})", [B]),
        (f'<a href="{BARE}" target=_blank>Download</a>', [BARE]),
        (f"[the picture]({A})", [A]),
        (f'<img src="{A}">', [A]),
        (f"<img alt='\"' src='{A}'/>", [A]),
        (f"<IMG width=1 SRC={A} >", [A]),
        (f'<img src="{A}?a=1&amp;b=2">', [f"{A}?a=1&b=2"]),
        (f'```html\n<img src="{A}">\n```', [A]),
        (f"&lt;img src=&quot;{A}&quot;&gt;", [A]),
        (f'![x]({A}) <img src="{B}">', [A, B]),
        (f"![x]({A})\n{B}", [A]),
        (f"![x]({A})\n[Download]({B})", [A]),
        (f'{{"image_url": "{A}"}}', [A]),
        (f'```json\n{{"data": [{{"url": "{A}"}}, {{"url": "{B}"}}]}}\n```', [A, B]),
    ],
)
def test_found(text: str, links: list[str]) -> None:
    assert list(read_answer(text).images) == links


@pytest.mark.parametrize(
    "text",
    [
        "https://cdn.example",
        "https://",
        f"> {A}",
        f"> [Click to download]({A})",
        f"> Progress [100]({A})",
        f"Progress: [57%]({A})",
        f"[preview]({A})",
        f"Read this: {BARE}",
        f"Read these:\n{BARE}\n{BARE}/2",
        "https://cdn.example/rules.html",
        "[Download](https://cdn.example/film.mp4)",
        f"I cannot edit {A}: it violates our content policy.",
        "<img src=logo.png>",
        f'{{"prompt": "like {A}"}}',
        "data:text/plain;base64,SGVsbG8=",
        "data:application/octet-stream;base64,SGVsbG8=",
        "data:image/png,iVBORw0KGgo",
    ],
)
def test_no_picture(text: str) -> None:
    assert read_answer(text).images == ()


@pytest.mark.parametrize(
    "text",
    [
        f"![x](data:image/png;base64,{B64})",
        f"![x](data:image/png;base64,{LINES})",
        f"![x]( data:image/png; base64, {LINES}\n)",
        f"![x](data:image/png;base64,{LINES} 'a title')",
        f"![x](data:image/png;base64,{LINES.replace(chr(10), chr(13) + chr(10) + '   ')})",
        f"![x](data:image/png;base64,{B64.rstrip('=').replace('+', '-').replace('/', '_')})",
        f"![x](data:image/png;base64,{B64.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')})",
        f"![x](data:image/png;charset=utf-8;base64,{B64})",
        f"![x](data:application/octet-stream;base64,{B64})",
        f"![x](data:;base64,{B64})",
        f"![x](DATA:IMAGE/PNG;base64,{B64})",
        f"data:image/png;base64,{B64}",
        f"Here: data:image/png;base64,{LINES}\n\nDone.",
        f"`data:image/png;base64,{B64}`",
        f"[Download](data:image/png;base64,{B64})",
        f'<img src="data:image/png;base64,{LINES}">',
        f'{{"url": "data:image/png;base64,{B64}"}}',
        f'{{"b64_json": "{B64}"}}',
        B64,
        f"```\n{LINES}\n```",
    ],
)
def test_the_bytes_of_a_data_url_are_the_pictures_own(text: str) -> None:
    [address] = read_answer(text).images
    made = picture_at(address)
    assert made is not None
    assert base64.b64decode(made.b64 or "", validate=True) == PNG


def test_words_after_a_data_url_are_none_of_its_bytes() -> None:
    for words in ("\nDone", "\nDone.", " Enjoy the picture", "\n\nEnjoy", ")"):
        [address] = read_answer(f"data:image/png;base64,{B64}{words}").images
        assert address.endswith(B64)


def test_the_example_of_a_short_one_broken_over_lines() -> None:
    [address] = read_answer("![x](data:image/png;base64,iVBORw0KGgo\nAAAANSUhEUg)").images
    made = picture_at(address)
    assert made is not None
    assert made.b64 == "iVBORw0KGgoAAAANSUhEUg=="


@pytest.mark.parametrize(
    ("text", "standard"),
    [
        ("iVBORw0KGgo_-A", "iVBORw0KGgo/+A=="),
        ("iVBORw0KGgo", "iVBORw0KGgo="),
        ("iVBO\r\nRw0K\n Ggo=\n", "iVBORw0KGgo="),
        ("iVBORw0KGgo%3D", "iVBORw0KGgo="),
        ("AA+/==", "AA+/"),
        ("a", None),
        ("a===", None),
        ("ab=c", None),
        ("", None),
        ("=", None),
        ("ab(d", None),
        ("äbcd", None),
    ],
)
def test_base64_is_written_as_the_standard_has_it(text: str, standard: str | None) -> None:
    assert standard_base64(text) == standard


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    [
        "<img ",
        "<img src=",
        '<img src="',
        "<img src='https://a.example/",
        "<a href=",
        '<a href="https://a.example/x">',
        "https://a.example/",
        "https://a.b:",
        "[download](https://a.example/",
        "[a](https://a.b/c",
        "data:",
        "data:image/png;base64,",
        "(data:image/png;base64,\n",
        f"{'A' * 76}\n",
        "a.png ",
        "://",
    ],
)
def test_text_made_to_be_slow_is_read_in_one_pass(unit: str) -> None:
    for beginning in ("", "data:image/png;base64,", "![x]("):
        read_answer(beginning + unit * (120_000 // len(unit)))


def test_base64_alone_is_no_text_that_is_too_long() -> None:
    for text in (B64 * 400, "\n".join([B64[:76]] * 20_000)):
        reader = ImageTextReader()
        for at in range(0, len(text), 5):
            reader.feed(text[at : at + 5])
        assert not reader.too_long


@pytest.mark.parametrize(
    "text",
    [
        "[View image](https://cdn.example/oct)",
        "Here is your picture: [click here](https://cdn.example/oct)",
        "Done!\n\n[查看图片](https://cdn.example/oct)",
        'It is ready: <a href="https://cdn.example/oct">see it</a>',
    ],
)
def test_the_only_link_is_the_picture_if_it_is_offered_as_one(text: str) -> None:
    assert read_answer(text).images == ("https://cdn.example/oct",)


@pytest.mark.parametrize(
    "text",
    [
        "The generation failed, see [here](https://help.example/limits).",
        "Sorry, I cannot draw that. [View policy](https://help.example/policy)",
        "[Terms](https://cdn.example/oct)",
        "[view one](https://cdn.example/a) or [view two](https://cdn.example/b)",
        "[preview image](https://cdn.example/oct)",
    ],
)
def test_other_links_are_none(text: str) -> None:
    assert read_answer(text).images == ()
