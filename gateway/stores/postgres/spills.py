"""The spill files of gateways that share a store: each has one of its own in a folder, and those of the dead are read.

The folder may be one that several machines see. A file is its gateway's as long as that has it locked. Where a file
system knows no such locks one may be read while its gateway lives: what it holds is booked once all the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
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
    spill = Spill.open(folder / gateway, WITH_INTENTS)
    spill.lock()
    return spill


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
    """The spill files of a folder."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.name.endswith(ENDING))
    return []
