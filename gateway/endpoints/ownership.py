"""Whose is what a request names by an id: the accounts at an upstream are shared, so an id that was not given to this
very virtual key here is answered 404, before anything is sent or reserved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.errors import not_made_here
from gateway.core.types import VirtualKey
from gateway.exchange.services import Services
from gateway.wire.answer_sounds import Heard
from gateway.wire.named_ids import NamedId, ids_in_chat, tasks_in
from gateway.wire.usual_chat import UnusualPart


def refuse_foreign_ids(ids: Iterable[NamedId]) -> None:
    """Raise ClientError 404 for the first of ``ids``: no route makes anything that has such an id."""
    for named in ids:
        raise not_made_here(named.kind, named.id, named.param)


def ids_to_check(unusual: UnusualPart) -> list[NamedId]:
    """The ids that a chat names, up to the first that is no sound's, for no other can be a key's own."""
    ids: list[NamedId] = []
    if unusual.usual:
        return ids
    for named in ids_in_chat(unusual.body, unusual.places):
        ids.append(named)
        if named.kind != "audio":
            break
    return ids


def check_chat(ids: Iterable[NamedId], key: VirtualKey, services: Services) -> None:
    """Raise ClientError 404 for one of the ids in a chat that is not this key's. Sounds of earlier answers may be."""
    for named in ids:
        now = services.clock.wall_ns() / 1_000_000_000
        if named.kind != "audio" or not services.made_ids.knows(key.name, named.id, now):
            raise not_made_here(named.kind, named.id, named.param)


def remember_sounds(body: Mapping[str, Any], key: VirtualKey, services: Services) -> Heard | None:
    """What is to be told of the sounds in a chat's answer; None for a chat that asks for none."""
    modalities = body.get("modalities")
    if not body.get("audio") and not (isinstance(modalities, list) and "audio" in modalities):
        return None

    def heard(id: str, until: float | None) -> None:
        services.made_ids.add(key.name, id, services.clock.wall_ns() / 1_000_000_000, until)

    return heard


async def check_task(given: Mapping[str, Any], key: VirtualKey, services: Services) -> None:
    """Raise ClientError 404 for an earlier task in a task's input that another key made, or none here."""
    for named in tasks_in(given):
        record = await services.ledger.find_task(named.id)
        if record is None or record.key != key.name:
            raise not_made_here(named.kind, named.id, named.param)
