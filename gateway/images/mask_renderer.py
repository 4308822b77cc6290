"""The threads that work on clients' images. Pillow is loaded by the first of them that has something to do."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from gateway.core.images.types import SourceImage

CONVERTED = frozenset({"image/avif"})
"""The types of source images that are converted."""


class MaskRenderer:
    """Threads that paint masks, at most ``parallel`` at once: each uses a core and up to some 600 MB."""

    def __init__(self, parallel: int = 2) -> None:
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="painting")

    async def paint(self, image: bytes, mask: bytes) -> bytes:
        """``mask.paint_mask`` beside the event loop; waits for its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _painted, image, mask)

    async def convert(self, image: SourceImage, param: str) -> SourceImage:
        """``conversion.converted`` beside the event loop; waits for its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _converted, image, param)

    async def close(self) -> None:
        """Release the threads once running work has ended; waiting work is cancelled."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


def _painted(image: bytes, mask: bytes) -> bytes:
    from gateway.images.mask import paint_mask

    return paint_mask(image, mask)


def _converted(image: SourceImage, param: str) -> SourceImage:
    from gateway.images.conversion import converted

    return converted(image, param)
