"""What a client compressed is read again, in small steps; what is broken is said to be."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.content_coding import MOST_MEMBERS, PIECE, BrokenCoding, UnknownCoding, codings, undone

TEXT = b'{"model": "gpt-4o", "messages": []}' * 9


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def members(data: bytes) -> bytes:
    return gzip.compress(data[:7]) + gzip.compress(b"") + gzip.compress(data[7:])


def named(data: bytes) -> bytes:
    """With a file's name, a comment, an extra field and a header checksum: every part that RFC 1952 knows."""
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x03\0abcname\0comment\0"
    return head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") + gzip.compress(data)[10:]


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("gzip", members),
    ("gzip", named),
    ("gzip", lambda data: gzip.compress(data, 0)),
    ("gzip", lambda data: gzip.compress(data) + bytes(512)),
    ("deflate", zlib.compress),
    ("deflate", lambda data: zlib.compress(data, 0)),
    ("deflate", raw),
]


def whole(data: bytes, coding: str) -> bytes:
    return b"".join(undone(data, coding))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], ()),
        ([""], ()),
        (["identity"], ()),
        (["gzip"], ("gzip",)),
        (["GZip"], ("gzip",)),
        (["x-gzip"], ("gzip",)),
        ([" deflate , gzip "], ("deflate", "gzip")),
        (["deflate", "x-gzip"], ("deflate", "gzip")),
        (["gzip, identity,"], ("gzip",)),
    ],
)
def test_the_codings_are_named_in_the_order_in_which_they_were_applied(values, found):
    assert codings(values) == found


@pytest.mark.parametrize(
    "values", [["br"], ["gzip, zstd"], ["gzip", "compress"], ["gzip;q=1"], ["gzip,gzip,gzip"], ["*"]]
)
def test_other_codings_are_unknown(values):
    with pytest.raises(UnknownCoding):
        codings(values)


@pytest.mark.parametrize(("coding", "pack"), PACKERS)
def test_what_was_compressed_is_read(coding, pack):
    for data in (b"", b"x", TEXT, bytes(PIECE), bytes(3 * PIECE + 1)):
        assert whole(pack(data), coding) == data
    assert whole(b"", coding) == b""


@given(st.binary(max_size=400), st.sampled_from(PACKERS[:1] + PACKERS[5:]), st.data())
def test_what_is_cut_anywhere_is_broken(text, packing, data):
    coding, pack = packing
    packed = pack(text)
    with pytest.raises(BrokenCoding):
        whole(packed[: data.draw(st.integers(1, len(packed) - 1))], coding)


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_read_or_broken(data, coding):
    with suppress(BrokenCoding):
        assert type(whole(data, coding)) is bytes


@pytest.mark.parametrize(
    ("data", "coding", "words"),
    [
        (gzip.compress(TEXT)[:-1], "gzip", "too early"),
        (gzip.compress(TEXT) + b"xyz", "gzip", "header"),
        (gzip.compress(TEXT) + b"\0x", "gzip", "goes on"),
        (gzip.compress(TEXT)[:-8] + bytes(8), "gzip", "data check"),
        (TEXT, "gzip", "header"),
        (zlib.compress(TEXT) + b"x", "deflate", "goes on"),
        (raw(TEXT) + b"x", "deflate", "goes on"),
        (gzip.compress(TEXT), "deflate", "invalid"),
        (TEXT, "deflate", "invalid"),
    ],
    ids=["cut", "more", "more after NULs", "changed", "plain", "more", "more", "gzip", "plain"],
)
def test_what_is_broken_is_said(data, coding, words):
    with pytest.raises(BrokenCoding) as broken:
        whole(data, coding)
    assert words in str(broken.value)


def test_a_bomb_is_a_step_at_a_time():
    sizes = [len(piece) for _, piece in zip(range(5), undone(gzip.compress(bytes(8 << 20)), "gzip"), strict=False)]
    assert sizes == [PIECE] * 5


def test_a_file_of_too_many_members_is_not_read_to_its_end():
    assert whole(gzip.compress(b"x") * MOST_MEMBERS, "gzip") == b"x" * MOST_MEMBERS
    with pytest.raises(BrokenCoding):
        whole(gzip.compress(b"") * (MOST_MEMBERS + 1), "gzip")
