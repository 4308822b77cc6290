"""The results: images fetched from upstreams' hosts, and images kept under links of this gateway."""

from __future__ import annotations

import asyncio

from gateway.core.connection_options import ConnectionOptions
from gateway.core.errors import ResultUnavailable
from gateway.images.kept import KeptFile, KeptImages
from gateway.telemetry.log import Log
from gateway.upstream.address_guard import Surroundings
from gateway.upstream.result_fetch import FetchAllowance, ResultFetcher

SWEEP_EVERY = 600.0
"""Seconds between two removals of kept images that have aged out."""


class ImageResults:
    """Fetches images from an upstream's image host, and keeps images here under a link of this gateway.

    ``public_url``: where clients reach the kept ones; empty for the host that each client asked by.
    """

    def __init__(self, fetcher: ResultFetcher, kept: KeptImages, public_url: str) -> None:
        self._fetcher = fetcher
        self._kept = kept
        self._public_url = public_url
        self._own_url = ""

    def listening(self, url: str) -> None:
        """Set the main listener's own address, for links to clients that named no host."""
        self._own_url = url

    def surrounded_by(self, places: Surroundings) -> None:
        """Set the places that no link may make this gateway ask."""
        self._fetcher.surroundings = places

    def reached_by(self, options: ConnectionOptions) -> None:
        """Set how the hosts of images are connected to."""
        self._fetcher.options = options

    def allowance(self) -> FetchAllowance:
        """What all fetches for one answer may take."""
        return self._fetcher.allowance()

    async def fetch(self, url: str, allowance: FetchAllowance) -> bytes:
        """The image behind an upstream's link. Raises ResultUnavailable; LinkForbidden if the link is not to be handed
        on.
        """
        return await self._fetcher.fetch(url, allowance)

    async def keep(self, data: bytes, host: str | None, owner: str) -> str:
        """Keep an image and return its link. Raises ResultUnavailable.

        ``host``: the host, with its port, that the client asked by; None if it is not known. ``owner``: the virtual key
        that it was made for.
        """
        base = self._public_url or (f"http://{host}" if host else self._own_url)
        return f"{base}/images/{await self._kept.keep(data, owner)}"

    async def open(self, name: str) -> KeptFile | None:
        """A kept image, to be read and closed; None if there is none of this name."""
        return await self._kept.open(name)

    async def age_out(self, log: Log) -> None:
        """Close the folder of images to other users; then remove those that are too old or too many, every
        ``SWEEP_EVERY`` seconds, until cancelled.
        """
        if exposed := await self._kept.close_off():
            log.warning("images_open", message=exposed)
        while True:
            try:
                await self._kept.sweep()
            except ResultUnavailable as trouble:
                log.error("kept_images", problem=str(trouble))
            await asyncio.sleep(SWEEP_EVERY)

    async def close(self) -> None:
        await self._fetcher.close()
        await self._kept.close()
