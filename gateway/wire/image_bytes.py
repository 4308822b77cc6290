"""The format and size of an image, read from its header alone; nothing is decoded.

The bytes are untrusted: every read is bounded, and a header that is not consistent has no size.
"""

from __future__ import annotations

from typing import Literal

ImageType = Literal["png", "jpeg", "webp", "gif"]
ConvertedType = Literal["avif", "heic"]
"""Formats that phones and browsers write and that image models do not read."""

MAX_PIXELS = 50_000_000
"""The most pixels (width × height) of an image that is accepted. A small file can claim any size and make its decoder
allocate that much memory."""

# PNG third edition, section 5.2; ITU-T T.81, annex B.1.1.3 (SOI and the marker after it); GIF89a, section 17.
_MAGIC: tuple[tuple[bytes, ImageType], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)
# ITU-T T.81, table B.1: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC); RSTm, SOI, EOI and TEM have no length.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xDA)})
_START_OF_SCAN = 0xDA
# ISO/IEC 23000-22 (MIAF) and 23008-12 (HEIF), the brands of still images; AV1 Image File Format, section 4.
_BRANDS: dict[bytes, ConvertedType] = {
    **dict.fromkeys((b"avif", b"avis"), "avif"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"), "heic"),
}
_GENERAL_BRANDS = frozenset({b"mif1", b"msf1", b"miaf", b"MiHB", b"MiHE"})
_BOX_SEARCHED = 1 << 16
"""Bytes of such a file in which its size is looked for. Its metadata comes first, and has few kilobytes."""

_MOST_MARKERS = 4096
"""The most JPEG markers, and fill bytes between them, that are read. Images with a colour profile have up to 300."""


def image_type(data: bytes) -> ImageType | None:
    """The format that ``data`` begins like; None if it is not a known one."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    # WebP container specification, "WebP file header": RIFF, four bytes of length, WEBP.
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, as the header says; None if it is cut off, malformed, or says zero."""
    kind = image_type(data)
    size = None
    if kind == "png":
        size = _png(data)
    elif kind == "jpeg":
        size = _jpeg(data)
    elif kind == "webp":
        size = _webp(data)
    elif kind == "gif" and len(data) >= 10:  # GIF89a, section 18: the logical screen
        size = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return size if size is not None and size[0] > 0 and size[1] > 0 else None


def converted_type(data: bytes) -> ConvertedType | None:
    """The format of a HEIF file, of which AVIF is a kind; None if it is none, or of a kind that is not known."""
    if data[4:8] != b"ftyp":  # ISO/IEC 14496-12, section 4.3
        return None
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]
    named = next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
    return named or ("heic" if brands[0] in _GENERAL_BRANDS else None)


def converted_dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height of a HEIF file's largest image, as its header says; None if it says none.

    ISO/IEC 23008-12, section 6.5.3 (``ispe``: version and flags, width, height); 6.5.10 (``irot``: quarter turns).
    """
    head = data[:_BOX_SEARCHED]
    sizes = []
    at = head.find(b"ispe")
    while at >= 0 and at + 16 <= len(head):
        sizes.append((int.from_bytes(head[at + 8 : at + 12], "big"), int.from_bytes(head[at + 12 : at + 16], "big")))
        at = head.find(b"ispe", at + 16)
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    if not width or not height:
        return None
    turned = (place := head.find(b"irot")) >= 0 and place + 4 < len(head) and head[place + 4] & 1
    return (height, width) if turned else (width, height)


def _png(data: bytes) -> tuple[int, int] | None:
    """PNG third edition, section 11.2.1: the first chunk is IHDR, of 13 bytes; sides have 31 bits."""
    if len(data) < 33 or data[8:16] != b"\x00\x00\x00\x0dIHDR":
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return None if width >> 31 or height >> 31 else (width, height)


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """ITU-T T.81, annex B.2: marker segments up to the frame header. A height left to a later DNL marker is zero."""
    position = 2
    for _ in range(_MOST_MARKERS):
        if len(data) < position + 4 or data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _BARE_MARKERS:
            position += 2
        elif marker in _FRAMES:
            if len(data) < position + 9:
                return None
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        elif marker == _START_OF_SCAN:
            return None
        else:  # its length counts itself; one that is too short for that still moves on
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    """WebP container specification; RFC 6386, section 9.1 (VP8); WebP lossless bitstream, section 3 (VP8L)."""
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8 " and len(data) >= 30 and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
