"""tiktoken without a network, and without a text that can hold it up."""

from __future__ import annotations

import gzip
import os
import threading

import pytest
import tiktoken

from gateway import tokenizer
from gateway.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def loaded() -> Tokenizer:
    made = Tokenizer()
    made.load()
    return made


@pytest.fixture
def no_network(monkeypatch):
    def refused(url: str) -> bytes:
        raise AssertionError(f"tiktoken wanted {url}")

    monkeypatch.setattr("tiktoken.load.read_file", refused)
    # tiktoken keeps what it has read for the whole process.
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})


def test_the_vocabulary_is_read_without_a_network_and_nothing_is_left_behind(no_network, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for before in (None, "/nowhere"):
        tiktoken.registry.ENCODINGS.clear()
        if before is None:
            monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
        else:
            monkeypatch.setenv("TIKTOKEN_CACHE_DIR", before)
        assert Tokenizer().count("hello world") == 2
        assert os.environ.get("TIKTOKEN_CACHE_DIR") == before
        assert list(tmp_path.iterdir()) == []


def test_another_vocabulary_than_tiktokens_is_refused_before_tiktoken_sees_it(no_network, monkeypatch):
    monkeypatch.setattr(gzip, "decompress", lambda packed: b"IQ== 0\n")
    with pytest.raises(RuntimeError, match="o200k_base"):
        Tokenizer().load()


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
    ],
)
def test_counts_are_tiktokens_own(loaded, text, tokens):
    assert loaded.count(text) == tokens == len(tiktoken.get_encoding("o200k_base").encode(text))


def test_special_tokens_in_a_text_are_only_text(loaded):
    assert loaded.count("<|endoftext|>") > 1


def test_a_long_text_is_counted_in_pieces_nearly_exactly(loaded):
    sentence = "All work and no play makes Jack a dull boy. "
    text = sentence * 5_000
    exact = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))
    assert exact <= loaded.count(text) <= exact * 1.001


def test_a_very_long_text_is_sampled_evenly(loaded):
    text = "1 " * 600_000 + "word " * 240_000
    exact = 600_000 * 2 + 240_000
    assert loaded.count(text) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("unit", ["a", " ", "\n", "^", "\u0301", "😀", "Aa", "\u00a0", "<|endoftext|>"])
def test_texts_made_to_be_slow_are_counted_all_the_same(loaded, unit):
    """tiktoken alone takes most of a second for a million letters and panics over a million blanks."""
    text = unit * (1_000_000 // len(unit)) + "x"
    assert 0 < loaded.count(text) <= len(text.encode())
