"""The kind and size of an image by its header, for real images and for hostile ones."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from gateway.wire.image_bytes import dimensions, image_type


def drawn(kind: str, width: int, height: int, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), 7).save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", width, height, 8, 2, 0, 0, 0, 0)


def jpeg(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments)


def frame(width: int, height: int, marker: int = 0xC0) -> bytes:
    return struct.pack(">BBHBHHB", 0xFF, marker, 17, 8, height, width, 3) + bytes(9)


def webp(chunk: bytes) -> bytes:
    return b"RIFF\x00\x00\x00\x00WEBP" + chunk


ALPHA = {"lossless": False, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("png", "RGB", {}),
        ("png", "RGBA", {}),
        ("png", "L", {}),
        ("gif", "P", {}),
        ("jpeg", "RGB", {}),
        ("jpeg", "L", {}),
        ("jpeg", "RGB", {"progressive": True, "comment": b"x" * 60_000}),
        ("jpeg", "CMYK", {"icc_profile": bytes(200_000)}),
        ("webp", "RGB", {}),
        ("webp", "RGB", {"lossless": True}),
        ("webp", "RGBA", ALPHA),
    ],
)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (257, 1025)])
def test_real_images(kind, mode, options, width, height):
    data = drawn(kind, width, height, mode, **options)
    assert image_type(data) == kind
    assert dimensions(data) == (width, height)


@pytest.mark.parametrize("data", [b"", b"<svg", b"BM", b"\x89PNG", b"RIFF1234WAVE", b"GIF88a", b"%PDF", b"II*\0"])
def test_what_is_no_image(data):
    assert image_type(data) is None
    assert dimensions(data) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png((1 << 31) - 1, 1), ((1 << 31) - 1, 1)),
        (png(1 << 31, 1), None),
        (png(1, 1 << 31), None),
        (png(0, 1), None),
        (png(1, 0), None),
        (png(1, 1)[:-1], None),
        (png(1, 1).replace(b"IHDR", b"CgBI"), None),
        (b"GIF89a\x02\x00\x03\x00", (2, 3)),
        (b"GIF89a\x02\x00\x00\x00", None),
        (b"GIF87a\x02\x00\x03", None),
        (jpeg(frame(5, 6)), (5, 6)),
        (jpeg(b"\xff" * 9 + frame(5, 6)), (5, 6)),
        (jpeg(b"\xff\x01\xff\xd0", frame(5, 6, 0xCF)), (5, 6)),
        (jpeg(b"\xff\xc4\x00\x03\x00", b"\xff\xc8\x00\x02", b"\xff\xcc\x00\x02", frame(5, 6)), (5, 6)),
        (jpeg(b"\xff\xe0\x00\x00", frame(5, 6)), None),  # a length that does not even count itself
        (jpeg(frame(5, 0)), None),  # the height comes later, in a DNL marker
        (jpeg(frame(5, 6)[:8]), None),
        (jpeg(b"\xff\xda\x00\x02", frame(5, 6)), None),
        (jpeg(b"\xff\xe0\x00\x02", b"x", frame(5, 6)), None),
        (jpeg(b"\xff\xe0\xff\xff"), None),
        (jpeg(b"\xff\xe0\x00\x02" * 100_000, frame(5, 6)), None),
        (jpeg(b"\xff" * 100_000, frame(5, 6)), None),
        (webp(b"VP8X" + bytes(8) + b"\xff\x3f\x00\xff\x00\x00"), (16384, 256)),
        (webp(b"VP8X" + bytes(8) + b"\xff\x3f\x00\xff\x00"), None),
        (webp(b"VP8 " + bytes(7) + b"\x9d\x01\x2a\x05\x40\x06\x80"), (5, 6)),
        (webp(b"VP8 " + bytes(7) + b"\x9d\x01\x2b\x05\x40\x06\x80"), None),
        (webp(b"VP8 " + bytes(7) + b"\x9d\x01\x2a\x05\x40\x06"), None),
        (webp(b"VP8L" + bytes(4) + b"\x2f\x04\x40\x01\x00"), (5, 6)),
        (webp(b"VP8L" + bytes(4) + b"\x2e\x04\x40\x01\x00"), None),
        (webp(b"VP8L" + bytes(4) + b"\x2f\x04\x40\x01"), None),
        (webp(b"ALPH" + bytes(30)), None),
        (webp(b""), None),
    ],
)
def test_headers_by_hand(data, size):
    assert image_type(data) is not None
    assert dimensions(data) == size


_HEADS = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"RIFF\0\0\0\0WEBPVP8L",
)


@given(st.sampled_from(_HEADS), st.binary(max_size=100))
@example(b"\xff\xd8\xff", b"")
def test_whatever_follows_an_image_has_a_size_of_at_least_one_pixel_or_none(head, rest):
    size = dimensions(head + rest)
    assert size is None or min(size) >= 1
