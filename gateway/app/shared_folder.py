"""The folder of images of gateways that share a store: it must be one and the same, or a picture that one of them keeps
could not be fetched from the others. Each leaves a file there that carries its id; one that comes has to find those of
all that live.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from gateway.config import Config
from gateway.core.errors import ConfigError, StoreError
from gateway.runtime.disk import PRIVATELY
from gateway.stores.base import Store

FOLDER = "gateways"
"""Of the files that gateways leave, within ``images.dir``."""

_ID = re.compile(r"gw_[0-9a-f]{16}")


class SharedFolder:
    """The folder of ``config``, as gateway ``id`` sees it. ``store``: one that is not shared asks for nothing."""

    def __init__(self, config: Config, store: Store, id: str) -> None:
        self._folder = config.images.dir
        self._store = store
        self._id = id

    async def enter(self) -> None:
        """Use it from now on. Raises ConfigError, with words on what to do, if other gateways live that use another
        folder; StoreError if the store cannot be asked.
        """
        fleet = self._store.fleet
        if fleet is None:
            return
        await asyncio.to_thread(self._leave_mark)
        others = await fleet.folders.enter(self._finds)
        if others:
            await asyncio.to_thread(self._remove_mark)
            raise ConfigError([_not_shared(self._folder, others)])
        await asyncio.to_thread(self._tidy, frozenset({self._id}))

    async def leave(self) -> None:
        """Use it no more. Never raises."""
        if self._store.fleet is not None:
            await asyncio.to_thread(self._remove_mark)
            with contextlib.suppress(StoreError):
                await self._store.fleet.folders.leave()

    def _finds(self, others: Collection[str]) -> bool:
        """Whether these gateways use this folder."""
        return all((self._folder / FOLDER / other).exists() for other in others)

    def _leave_mark(self) -> None:
        try:
            (self._folder / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._folder / FOLDER / self._id, os.O_WRONLY | os.O_CREAT | PRIVATELY, 0o600))
        except OSError as error:
            raise ConfigError(
                [
                    f"images.dir: {self._folder} cannot be written: {error.strerror or error}. Gateways that share a "
                    "store keep their pictures there; make it a folder that this one may write to."
                ]
            ) from None

    def _remove_mark(self) -> None:
        with contextlib.suppress(OSError):
            (self._folder / FOLDER / self._id).unlink(missing_ok=True)

    def _tidy(self, but: Collection[str]) -> None:
        """Remove the marks of gateways that are gone for long."""
        with contextlib.suppress(OSError):
            marks = [path for path in (self._folder / FOLDER).iterdir() if _ID.fullmatch(path.name)]
            old = sorted(marks, key=lambda path: path.stat().st_mtime_ns, reverse=True)[MOST_MARKS:]
            for path in old:
                if path.name not in but:
                    path.unlink(missing_ok=True)


MOST_MARKS = 1_000
"""Marks that stay, the newest: more gateways than any fleet has."""


def _not_shared(folder: Path, others: Collection[str]) -> str:
    named = ", ".join(sorted(others)[:3])
    return (
        f"images.dir: {folder} is not the folder that the other gateways of this store use ({named}): a picture or an "
        "answer that one of them keeps there could not be had from this one. Give all of them one folder that they "
        "share, such as a network volume, and its path as images.dir; or stop the others first."
    )
