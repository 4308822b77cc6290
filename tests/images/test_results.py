"""Images are fetched from where upstreams leave them, and kept under links of the gateway's own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.core.errors import ResultUnavailable
from gateway.images.results import SWEEP_EVERY, ImageResults
from gateway.upstream.result_fetch import FetchAllowance, FetchLimits
from tests.exchange.fakes import Log
from tests.exchange.scripted import play


class Fetcher:
    closed = False

    async def fetch(self, url: str, allowance: FetchAllowance) -> bytes:
        if "gone" in url:
            raise ResultUnavailable("the image's host answered 404")
        return b"png of " + url.encode()

    async def close(self) -> None:
        self.closed = True


class Kept:
    """Keeps images under their numbers. ``trouble``: why the folder cannot be swept."""

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.sweeps = 0
        self.trouble: ResultUnavailable | None = None
        self.closed = False

    async def keep(self, data: bytes, owner: str) -> str:
        self.files.append(data)
        return f"{len(self.files)}.png"

    async def open(self, name: str) -> Any:
        return name if name in ("1.png", "2.png")[: len(self.files)] else None

    async def close_off(self) -> str:
        return ""

    async def sweep(self) -> int:
        self.sweeps += 1
        if self.trouble is not None:
            raise self.trouble
        return 0

    async def close(self) -> None:
        self.closed = True


def results(public_url: str = "", kept: Kept | None = None, fetcher: Fetcher | None = None) -> ImageResults:
    return ImageResults(cast("Any", fetcher or Fetcher()), cast("Any", kept or Kept()), public_url)


@pytest.mark.parametrize(
    ("public", "host", "base"),
    [
        ("", "gateway.lan:8400", "http://gateway.lan:8400"),
        ("", "localhost", "http://localhost"),
        ("", "[::1]:8400", "http://[::1]:8400"),
        ("", None, "http://127.0.0.1:8400"),
        ("https://images.example", "gateway.lan:8400", "https://images.example"),
        ("https://images.example", None, "https://images.example"),
    ],
)
async def test_a_link_leads_where_the_client_asked_unless_there_is_a_public_address(
    public: str, host: str | None, base: str
) -> None:
    images = results(public)
    images.listening("http://127.0.0.1:8400")
    assert await images.keep(b"png", host, "alice") == f"{base}/images/1.png"
    assert await images.open("1.png") is not None
    assert await images.open("2.png") is None


async def test_what_cannot_be_fetched_is_told_in_the_fetchers_words() -> None:
    images = results()
    allowance = FetchAllowance(FetchLimits())
    assert await images.fetch("https://img/1", allowance) == b"png of https://img/1"
    with pytest.raises(ResultUnavailable, match="answered 404"):
        await images.fetch("https://img/gone", allowance)


def test_old_images_are_removed_now_and_then_and_a_folder_in_trouble_is_tried_again() -> None:
    async def story() -> None:
        kept, log = Kept(), Log()
        kept.trouble = ResultUnavailable("the folder cannot be read")
        ageing = asyncio.get_running_loop().create_task(results(kept=kept).age_out(cast("Any", log)))
        await asyncio.sleep(1)
        assert (kept.sweeps, log.of("kept_images")) == (1, [{"problem": "the folder cannot be read"}])
        kept.trouble = None
        await asyncio.sleep(2 * SWEEP_EVERY)
        ageing.cancel()
        assert (kept.sweeps, len(log.lines)) == (3, 1)

    play(story)


async def test_closing_closes_both_sides() -> None:
    kept, fetcher = Kept(), Fetcher()
    await results(kept=kept, fetcher=fetcher).close()
    assert (kept.closed, fetcher.closed) == (True, True)
