"""The spill files of gateways that share a store: each has one of its own in a folder, and those of the dead are read.

The folder may be one that several machines see. A file is its gateway's as long as that has it locked. Where a file
system knows no such locks one may be read while its gateway lives: what it holds is booked once all the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.core.errors import StoreError
from gateway.runtime.disk import CAREFULLY
from gateway.runtime.file_lock import lock
from gateway.stores.records import ExchangeRecord
from gateway.stores.settled_fields import settled_fields, settled_record
from gateway.stores.spill import Lines, Spill

_INTENT = ("at_ns", "key", "team", "route", "model", "request_id", "reserved", "paid", "pieces", "paid_by")

ENDING = ".spill"

log = logging.getLogger("gateway.stores")


def _fields(settlement: ExchangeRecord) -> dict[str, Any]:
    return settled_fields(settlement) | {"intent": {name: getattr(settlement, name) for name in _INTENT}}


def _record(fields: Mapping[str, Any]) -> ExchangeRecord:
    given = dict(fields)
    intent = given.pop("intent")
    record = settled_record(given)
    for name in _INTENT:
        setattr(record, name, intent[name])
    return record


WITH_INTENTS = Lines(_fields, _record)
"""Settlements that bring their intents along, in case that the server loses these in a crash."""


class OwnSpill(Spill):
    """The spill file of a gateway, made anew should another one have taken it for a dead one's and removed it."""

    def append(self, settlements: Sequence[ExchangeRecord]) -> bool:
        try:
            if not os.fstat(self._descriptor).st_nlink:
                self._make_anew()
        except (OSError, StoreError) as error:
            log.error("%s was removed and cannot be made anew: %s", self.path, error)
            return False
        return super().append(settlements)

    def _make_anew(self) -> None:
        """What it held is in the books."""
        made = _made_locked(self.path)
        self.close()
        self._descriptor, self._end = made._descriptor, 0
        log.warning("%s had been removed; it was made anew", self.path)


def _made_locked(path: Path) -> OwnSpill:
    """A new file, which has its name only once it is locked: no other gateway sees it before."""
    spill = OwnSpill.open(path.with_name(f".{path.stem}"), WITH_INTENTS)
    try:
        spill.lock()
        spill.path = spill.path.rename(path)
    except OSError as error:
        spill.close()
        raise StoreError(f"{path} cannot be made: {error.strerror}.") from None
    except StoreError:
        spill.close()
        raise
    return spill


def open_spill(folder: Path, gateway: str) -> Spill:
    """The file of this gateway, locked. Raises StoreError if there can be none."""
    try:
        for made in (folder.parent, folder):  # the one around it is private as well: kept pictures lie there
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be made: {error.strerror}. What the store cannot take at once is kept there: give "
            "images.dir a place that can be written."
        ) from None
    return _made_locked(folder / f"{gateway}{ENDING}")


def remove_spill(spill: Spill) -> None:
    """Let go of a file of our own; one that holds nothing is removed."""
    if not spill.filled:
        with suppress(OSError):
            spill.path.unlink()
    spill.close()


@contextmanager
def left_spill(path: Path) -> Iterator[list[ExchangeRecord] | None]:
    """What a file holds that no gateway has locked; None if one has, or it is gone. It is removed in the end, unless
    an error says that what it holds was not booked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | CAREFULLY)
    except OSError:
        yield None
        return
    spill = Spill(path, descriptor, WITH_INTENTS)
    try:
        try:
            lock(descriptor)
        except BlockingIOError:
            yield None
            return
        except OSError as error:
            log.warning("%s cannot be locked: %s", path, error.strerror)
        yield spill.read()
        with suppress(OSError):
            path.unlink()
    finally:
        spill.close()


def spills_in(folder: Path) -> list[Path]:
    """The spill files of a folder, but those that are being made."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.suffix == ENDING and not path.name.startswith("."))
    return []
