"""Masks become white pixels: which ones, in which files, and what hostile ones come to."""

from __future__ import annotations

import asyncio
import io
import random
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gateway.core.errors import ClientError
from gateway.images import mask as mask_module
from gateway.images.mask import paint_mask
from gateway.images.mask_renderer import MaskRenderer

WHITE = (255, 255, 255)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be turned a quarter to the right


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, format, **options)
    return written.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    image.load()
    return image


def mask(width: int = 4, height: int = 4, *holes: tuple[int, int], alpha: int = 0) -> Image.Image:
    """Opaque but for the holes."""
    made = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    for hole in holes:
        made.putpixel(hole, (0, 0, 0, alpha))
    return made


def refusal(image: bytes, stencil: bytes) -> ClientError:
    with pytest.raises(ClientError) as caught:
        paint_mask(image, stencil)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


HOLE = encoded(mask(4, 4, (1, 0)))
RED = encoded(Image.new("RGB", (4, 4), (200, 0, 0)))


def png_header(width: int, height: int) -> bytes:
    """All that a bomb needs: a header, and a few bytes that claim to be pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_what_is_transparent_turns_white_and_nothing_else_changes() -> None:
    noise = Image.frombytes("RGB", (16, 16), random.Random(1).randbytes(16 * 16 * 3))
    holes = {(0, 0), (15, 3), (7, 7)}
    painted = decoded(paint_mask(encoded(noise), encoded(mask(16, 16, *holes))))
    assert painted.mode == "RGB"
    for x in range(16):
        for y in range(16):
            assert painted.getpixel((x, y)) == (WHITE if (x, y) in holes else noise.getpixel((x, y)))


@pytest.mark.parametrize(("alpha", "colour"), [(0, WHITE), (127, WHITE), (128, (200, 0, 0)), (255, (200, 0, 0))])
def test_half_transparent_pixels_go_to_the_nearer_side(alpha: int, colour: tuple[int, int, int]) -> None:
    painted = decoded(paint_mask(RED, encoded(mask(4, 4, (1, 0), alpha=alpha))))
    assert painted.getpixel((1, 0)) == colour


@pytest.mark.parametrize(
    ("mode", "colour", "becomes"),
    [
        ("1", 0, (0, 0, 0)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 5), (100, 100, 100, 5)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 4), (1, 2, 3, 4)),
        ("I;16", 30000, (117, 117, 117)),
    ],
)
def test_every_kind_of_png_can_be_painted(mode: str, colour: object, becomes: tuple[int, ...]) -> None:
    image = Image.new(mode, (4, 4), colour)  # type: ignore[arg-type]
    painted = decoded(paint_mask(encoded(image), HOLE))
    assert painted.getpixel((0, 0)) == becomes
    assert painted.getpixel((1, 0)) == (255,) * len(becomes)


@pytest.mark.parametrize(
    ("format", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("WEBP", "RGBA"), ("GIF", "P")]
)
def test_every_format_can_be_painted(format: str, mode: str) -> None:
    painted = decoded(paint_mask(encoded(Image.new("RGB", (4, 4), (0, 0, 0)).convert(mode), format), HOLE))
    assert painted.getpixel((0, 0))[:3] == pytest.approx((0, 0, 0), abs=3)  # type: ignore[index]
    assert painted.getpixel((1, 0))[:3] == WHITE  # type: ignore[index]


def palette_mask() -> bytes:
    """Indices into a palette whose first colour is transparent (PNG's tRNS chunk)."""
    made = Image.new("P", (4, 4), 1)
    made.putpalette([0, 0, 0, 255, 255, 255])
    made.putpixel((1, 0), 0)
    return encoded(made, transparency=b"\x00\xff")


def keyed_mask() -> bytes:
    """One colour is declared transparent."""
    made = Image.new("RGB", (4, 4), (1, 1, 1))
    made.putpixel((1, 0), (9, 9, 9))
    return encoded(made, transparency=(9, 9, 9))


@pytest.mark.parametrize(
    "stencil",
    [
        palette_mask(),
        keyed_mask(),
        encoded(mask(4, 4, (1, 0)).convert("LA")),
        encoded(mask(4, 4, (1, 0)), "WEBP", lossless=True),
        encoded(mask(4, 4, (1, 0)), "GIF"),
    ],
    ids=["palette", "key colour", "grey and alpha", "webp", "gif"],
)
def test_transparency_is_found_wherever_a_format_keeps_it(stencil: bytes) -> None:
    painted = decoded(paint_mask(RED, stencil))
    assert painted.getpixel((1, 0)) == WHITE
    assert painted.getpixel((0, 0)) == (200, 0, 0)


def test_of_a_moving_image_the_first_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((10, 0, 0), (0, 10, 0))]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decoded(paint_mask(moving, HOLE)).getpixel((0, 0)) == (10, 0, 0)


def test_a_photo_is_turned_as_its_camera_says_and_told_nothing_of_where_it_was_taken() -> None:
    lying = Image.new("RGB", (8, 4), (0, 0, 0))
    lying.putpixel((0, 0), (0, 0, 200))  # its upper left corner is the upper right one once it stands
    painted = decoded(paint_mask(encoded(lying, exif=TURNED), encoded(mask(4, 8, (0, 7)))))
    assert painted.size == (4, 8)
    assert painted.getpixel((3, 0)) == (0, 0, 200)
    assert painted.getpixel((0, 7)) == WHITE
    assert not painted.getexif()


def test_a_mask_made_of_the_photo_is_turned_with_it() -> None:
    photo = encoded(Image.new("RGB", (8, 4), (200, 0, 0)), "JPEG", exif=TURNED)
    painted = decoded(paint_mask(photo, encoded(mask(8, 4, (0, 0)), exif=TURNED)))
    assert painted.size == (4, 8)
    assert painted.getpixel((3, 0)) == WHITE


def test_a_mask_that_only_fits_lying_does_not_fit() -> None:
    photo = encoded(Image.new("RGB", (8, 4)), exif=TURNED)
    error = refusal(photo, encoded(mask(8, 4)))
    assert (error.param, error.message) == (
        "mask",
        "The mask is 8x4 pixels and the image 4x8: both must be of the same size.",
    )


def test_colours_keep_their_profile_where_it_still_fits() -> None:
    profile = b"not looked into" * 9
    kept = decoded(paint_mask(encoded(Image.new("RGB", (4, 4)), icc_profile=profile), HOLE))
    assert kept.info["icc_profile"] == profile
    dropped = decoded(paint_mask(encoded(Image.new("CMYK", (4, 4)), "JPEG", icc_profile=profile), HOLE))
    assert "icc_profile" not in dropped.info


def test_a_mask_without_alpha_is_told_what_it_needs() -> None:
    for stencil in (RED, encoded(Image.new("RGB", (4, 4)), "JPEG")):
        error = refusal(RED, stencil)
        assert error.param == "mask"
        assert error.message.startswith("The mask has no alpha channel: send a PNG that is transparent where")


def test_sizes_that_differ_are_both_named() -> None:
    error = refusal(RED, encoded(mask(5, 4)))
    assert (error.param, error.message) == (
        "mask",
        "The mask is 5x4 pixels and the image 4x4: both must be of the same size.",
    )


BROKEN = [b"", b"<html>", b"BM" + bytes(60), RED[:-30], RED[:40], encoded(Image.new("RGB", (64, 64)), "JPEG")[:-80]]


@pytest.mark.parametrize("broken", BROKEN, ids=["nothing", "html", "bmp", "cut off", "header only", "half a jpeg"])
def test_a_file_that_cannot_be_read_is_refused_by_its_name(broken: bytes) -> None:
    other = encoded(mask(64, 64)) if broken[:2] == b"\xff\xd8" else HOLE
    error = refusal(broken, other)
    assert (error.param, error.message) == (
        "image",
        "The image cannot be read: send a complete PNG, JPEG, WebP or GIF.",
    )
    assert refusal(other, broken).param == "mask"


WEBP_BOMB = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<IB", 10, 0) + bytes(3) + b"\xff\x3f\x00" * 2
GIF_BOMB = (
    b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 9000, 9000, 0) + b"\x08\x00;"
)


@pytest.mark.parametrize(
    "bomb",
    [png_header(8000, 6251), png_header(9000, 9000), png_header(32768, 32768), WEBP_BOMB, GIF_BOMB],
    ids=["just above", "81 million", "a thousand million", "webp", "gif frame"],
)
def test_more_than_fifty_million_pixels_are_refused_before_any_is_decoded(bomb: bytes) -> None:
    error = refusal(bomb, HOLE)
    assert (error.param, error.message) == (
        "image",
        "The image has more than 50,000,000 pixels: send a smaller one.",
    )
    assert refusal(RED, bomb).param == "mask"


def test_what_pillow_itself_calls_a_bomb_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever our own look at the header missed."""
    monkeypatch.setattr(mask_module, "dimensions", lambda data: None)
    assert "50,000,000" in refusal(png_header(32768, 32768), HOLE).message
    assert "50,000,000" in refusal(png_header(9000, 9000), HOLE).message


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    photo = encoded(Image.new("RGB", (4, 4)), "JPEG", progressive=True)
    scan = photo[photo.rindex(b"\xff\xda") : -2]
    error = refusal(photo[:-2] + scan * 100 + b"\xff\xd9", HOLE)
    assert (error.param, error.message) == ("image", "The image is a JPEG of more than 100 scans.")


FINE = {
    "png": encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 0))),
    "palette": palette_mask(),
    "jpeg": encoded(Image.new("RGB", (4, 4)), "JPEG", exif=TURNED),
    "webp": encoded(mask(4, 4, (1, 0)), "WEBP"),
    "gif": encoded(mask(4, 4, (1, 0)), "GIF"),
}


@settings(max_examples=200)
@given(
    seed=st.sampled_from(sorted(FINE)),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=5),
    cut=st.integers(0, 20),
)
def test_any_damage_is_either_borne_or_refused(seed: str, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(FINE[seed])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    hostile = bytes(damaged[: len(damaged) - cut])
    for param, pair in (("image", (hostile, HOLE)), ("mask", (RED, hostile))):
        refused = None
        try:
            assert decoded(paint_mask(*pair)).width > 0
        except ClientError as error:
            refused = error
        if refused is not None:
            assert refused.status == 400
            assert refused.param in (param, "mask")  # sizes that differ are the mask's


IN_LITTLE_MEMORY = """
import pathlib, resource
from gateway.core.errors import ClientError
from gateway.images.mask import paint_mask
from tests.images.test_mask import GIF_BOMB, HOLE, RED, WEBP_BOMB, png_header

used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 64 * 1024 * 1024,) * 2)
for bomb in (png_header(32768, 32768), png_header(2**31 - 1, 2**31 - 1), WEBP_BOMB, GIF_BOMB):
    for pair in ((bomb, HOLE), (RED, bomb)):
        try:
            paint_mask(*pair)
        except ClientError as error:
            print(error.param, "50,000,000 pixels" in error.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to its limit")
def test_bombs_are_refused_in_little_memory() -> None:
    """In a process that may not have as much as the smallest of them asks for."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IN_LITTLE_MEMORY],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["image True", "mask True"] * 4


async def test_a_painter_paints_beside_the_loop() -> None:
    mask_renderer = MaskRenderer()
    try:
        assert decoded(await mask_renderer.paint(RED, HOLE)).getpixel((1, 0)) == WHITE
        with pytest.raises(ClientError):
            await mask_renderer.paint(RED, RED)
    finally:
        await mask_renderer.close()


async def test_a_painter_paints_two_at_once_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two meet at a barrier that one alone could never pass; a third never gets in between."""
    barrier, lock = threading.Barrier(2, timeout=10), threading.Lock()
    inside: list[int] = [0, 0]

    def slowly(image: bytes, mask: bytes) -> bytes:
        with lock:
            inside[0] += 1
            inside[1] = max(inside)
        barrier.wait()
        with lock:
            inside[0] -= 1
        return image + mask

    monkeypatch.setattr(mask_module, "paint_mask", slowly)
    mask_renderer = MaskRenderer()
    try:
        painted = await asyncio.gather(*(mask_renderer.paint(b"%d" % n, b"!") for n in range(6)))
        assert painted == [b"%d!" % n for n in range(6)]
        assert inside[1] == 2
    finally:
        await mask_renderer.close()
