"""Threads: conversations that an upstream of Anthropic's dialect holds, which go on from one of its messages.

Such a message is known to the account that made it, and to the virtual key that it was made with. So what goes on from
it is asked of the same upstream with the same key, and no other member can name it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.errors import not_made_here
from gateway.core.types import Route, Target, VirtualKey
from gateway.responses.places import ResponsePlaces
from gateway.translate.messages_relay import MessagesRelay
from gateway.wire.named_ids import NamedId


async def pinned(route: Route, ids: Sequence[NamedId], key: VirtualKey, places: ResponsePlaces) -> Route:
    """The route with only the place where the message is known that the request goes on from.

    ``ids``: all that the request names. Raises ClientError 404 for one that is not this key's, 503 if the store cannot
    be read.
    """
    named_messages = [named for named in ids if named.kind == "message"]
    found = await places.find(key.name, [named.id for named in named_messages], late=True) if named_messages else {}
    for named in ids:
        place = found.get(named.id) if named.kind == "message" else None
        if place is None:
            raise not_made_here(named.kind, named.id, named.param)
        upstream, credential = place
        targets = [_with_key(target, credential) for target in route.targets if target.upstream.name == upstream]
        targets = [target for target in targets if target.operation == "messages" and target.upstream.credentials]
        if not targets:
            raise not_made_here(named.kind, named.id, named.param)
        route = replace(route, targets=tuple(targets))
    return route


def remember(answered: MessagesRelay, key: VirtualKey, places: ResponsePlaces) -> None:
    """Note where the message of an answer is known, if its upstream was asked to hold the conversation."""
    if answered.holds_thread and (id := answered.message_id):
        places.note(key.name, [id], answered.kept_at)


def _with_key(target: Target, credential: str) -> Target:
    own = tuple(one for one in target.upstream.credentials if one.name == credential)
    return replace(target, upstream=replace(target.upstream, credentials=own))
