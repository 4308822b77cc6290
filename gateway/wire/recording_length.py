"""How long a recording can be, and how long it probably is, by its bytes alone.

A header may say anything; what is decoded is the bytes. A WAV file of plain samples plays so many bytes a second as its
header says, and the decoder goes by the same header, so that the length of all its bytes is a bound. Of any other file
the bound is by the lowest rate that speech is coded at: 6 kbit/s, the floor of Opus (RFC 6716, section 2.1.1); MP3's is
8 kbit/s. A file that holds nothing but silence may be longer; what is billed beyond the bound no budget pays.
"""

from __future__ import annotations

import struct

LOWEST_RATE = 750
"""Bytes a second: 6 kbit/s."""

USUAL_RATE = 8_000
"""Bytes a second of a recording of speech, where its kind does not tell: 64 kbit/s."""

_PLAIN_SAMPLES = frozenset({1, 3, 0xFFFE})  # PCM, floats, and those of either in the extended header
_CHANNELS = range(1, 9)
_SAMPLES = range(1_000, 192_001)
_BITS = frozenset({8, 16, 24, 32, 64})
"""What real files have. A header beyond it tells nothing: it might make minutes pass for a second."""

_MOST_SEARCHED = 4096
_MOST_CHUNKS = 64

_MPEG_RATES = {  # kbit/s of layer III by the index in a frame's header, for MPEG 1 and for 2 and 2.5
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}


def most_milliseconds(data: bytes) -> int:
    """The longest that a recording in these bytes can play, in whole seconds, as they are billed."""
    return _whole_seconds(data, _wav_rate(data) or LOWEST_RATE)


def likely_milliseconds(data: bytes) -> int:
    """How long it probably plays, in whole seconds, for an upstream that does not tell."""
    return _whole_seconds(data, _wav_rate(data) or _mp3_rate(data) or USUAL_RATE)


def _whole_seconds(data: bytes, rate: int) -> int:
    return -(-len(data) // rate) * 1000


def _wav_rate(data: bytes) -> int | None:
    """Bytes a second of a WAV file of plain samples; None for any other file."""
    kind: int
    channels: int
    samples: int
    bits: int
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 24 > len(data):
            return None
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            kind, channels, samples, _, _, bits = struct.unpack_from("<HHIIHH", data, at + 8)
            usual = kind in _PLAIN_SAMPLES and channels in _CHANNELS and samples in _SAMPLES and bits in _BITS
            return samples * channels * bits // 8 if usual else None
        at += 8 + size + size % 2
    return None


def _mp3_rate(data: bytes) -> int | None:
    """Bytes a second of an MP3 file by its first frame; None for any other file."""
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    for place in range(at, min(len(data) - 4, at + _MOST_SEARCHED)):
        if data[place] == 0xFF and data[place + 1] & 0xE6 == 0xE2:  # a frame of layer III
            rate = _MPEG_RATES[data[place + 1] & 0x18 == 0x18][data[place + 2] >> 4]
            return rate * 125 or None
    return None
