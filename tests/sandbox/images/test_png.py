"""PNGs that any decoder takes, of the size that was asked for, with SANDBOX on them."""

from __future__ import annotations

import struct
import zlib

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.images.png import draw_image, image_by_name, image_name
from tests.sandbox.client import ask


def decode(png: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of palette indices, with every checksum looked at."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, found = 8, {}
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", png, place + 8 + length) == (zlib.crc32(kind + data),)
        found[kind] = data
        place += 12 + length
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert (depth, colour, len(found[b"PLTE"]), found[b"IEND"]) == (8, 3, 6, b"")
    raw = zlib.decompress(found[b"IDAT"])
    assert len(raw) == height * (width + 1)
    rows = [raw[start : start + width + 1] for start in range(0, len(raw), width + 1)]
    assert {row[0] for row in rows} == {0}
    return width, height, [row[1:] for row in rows]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (43, 9), (256, 64), (1024, 1536), (1536, 1024)])
def test_the_image_has_the_size_asked_for(width: int, height: int) -> None:
    assert decode(draw_image(width, height))[:2] == (width, height)


def test_the_word_can_be_read() -> None:
    _, _, rows = decode(draw_image(43, 9))

    assert [row[1:42].translate(bytes((32, 35)) + bytes(254)).decode().rstrip() for row in rows] == [
        "",
        " ####  ###  #   # ####  ####   ###  #   #",
        "#     #   # ##  # #   # #   # #   # #   #",
        "#     #   # # # # #   # #   # #   #  # #",
        " ###  ##### #  ## #   # ####  #   #   #",
        "    # #   # #   # #   # #   # #   #  # #",
        "    # #   # #   # #   # #   # #   # #   #",
        "####  #   # #   # ####  ####   ###  #   #",
        "",
    ]


def test_a_name_is_all_it_takes() -> None:
    name = image_name("a fox", 320, 200)

    assert image_name("a fox", 320, 200) == name
    assert image_name("a cat", 320, 200) != name
    assert decode(image_by_name(name) or b"")[:2] == (320, 200)


@pytest.mark.parametrize("name", ["x.png", "gen-1-0x10.png", "gen-1-9999x10.png", "../gen-1-8x8.png", "gen-1-8x8.jpg"])
def test_no_other_name_is_served(name: str) -> None:
    assert image_by_name(name) is None


async def test_images_are_fetched_without_a_key(sandbox: Sandbox) -> None:
    received = await ask(sandbox, method="GET", path="/files/gen-1-64x32.png", key=None)
    missing = await ask(sandbox, method="GET", path="/files/none", key=None)

    assert received.headers[b"content-type"] == b"image/png"
    assert received.headers[b"x-sandbox"] == b"1"
    assert decode(received.body)[:2] == (64, 32)
    assert missing.status == 404
