"""PNG images with SANDBOX drawn on them, written byte by byte (PNG specification, third edition).

An image is made from its name alone, so the sandbox stores none: ``/files/gen-1a2b-1024x1536.png``.
"""

from __future__ import annotations

import re
import struct
import zlib
from functools import lru_cache

MAX_SIDE = 4096
_NAME = re.compile(r"[\w-]{1,80}-(\d{1,4})x(\d{1,4})\.png")

# Five columns by seven rows a letter, one number a row, its lowest bit on the right.
_LETTERS = {
    "S": (0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110),
    "A": (0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001),
    "N": (0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001),
    "D": (0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110),
    "B": (0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110),
    "O": (0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110),
    "X": (0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001),
}
_WORD = "SANDBOX"
_COLUMNS = 6 * len(_WORD) - 1


def image_name(seed: str, width: int, height: int) -> str:
    """A file name for an image of this size; equal seeds give equal images."""
    return f"gen-{zlib.crc32(seed.encode()):08x}-{width}x{height}.png"


def image_by_name(name: str) -> bytes | None:
    """The PNG a name stands for, or None if the sandbox gives out no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    width, height = int(match[1]), int(match[2])
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        return None
    return draw_image(width, height, zlib.crc32(name.encode()))


@lru_cache(maxsize=32)
def draw_image(width: int, height: int, tint: int = 0) -> bytes:
    """A PNG of ``width`` × ``height`` pixels; the low 24 bits of ``tint`` choose the background."""
    background = (tint & 0xFFFFFF).to_bytes(3, "big")
    foreground = bytes(3) if sum(background) > 384 else b"\xff\xff\xff"
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits a pixel, indices into a palette
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", background + foreground),
            _chunk(b"IDAT", zlib.compress(_rows(width, height), 6)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(width: int, height: int) -> bytes:
    """The filtered scanlines: filter 0, then one palette index a pixel. Tiny images have no room for the word."""
    scale = min(width // (_COLUMNS + 2), height // 9)
    blank = bytes(1 + width)
    if scale < 1:
        return blank * height
    left, top = (width - _COLUMNS * scale) // 2, (height - 7 * scale) // 2
    lines = []
    for row in range(7):
        bits = "0".join(f"{_LETTERS[letter][row]:05b}" for letter in _WORD)
        pixels = b"".join((b"\x01" if bit == "1" else b"\x00") * scale for bit in bits)
        lines.append((bytes(1 + left) + pixels).ljust(1 + width, b"\x00") * scale)
    return blank * top + b"".join(lines) + blank * (height - top - 7 * scale)
