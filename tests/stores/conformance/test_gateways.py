"""The gateways of a store: an entry from the first beat until it leaves, the same again with every beat."""

from __future__ import annotations

from dataclasses import replace

from gateway.stores.base import Store
from gateway.stores.gateway_records import GatewayState

ONE = GatewayState(
    "gw_1", 1_000_000_000, "0.1.0", "here", 7, "http://127.0.0.1:1", "http://127.0.0.1:2", 3, {"store": True}
)


async def test_a_gateway_is_seen_with_what_it_said_last_until_it_leaves(store: Store) -> None:
    assert list(await store.gateways.all()) == []
    await store.gateways.beat(ONE)
    [first] = await store.gateways.all()
    assert (first.state, first.live) == (ONE, True)
    later = replace(ONE, in_flight=0, main_url="http://127.0.0.1:3", sees={"store": True, "shared_state": False})
    await store.gateways.beat(later)
    [second] = await store.gateways.all()
    assert (second.state, second.live) == (later, True)
    assert second.seen_at_ns >= first.seen_at_ns
    await store.gateways.leave("gw_1")
    assert list(await store.gateways.all()) == []


async def test_none_that_lives_is_claimed(store: Store) -> None:
    await store.gateways.beat(ONE)
    assert list(await store.gateways.claim_dead("gw_1")) == []
    assert list(await store.gateways.claim_dead("gw_2")) == []
    await store.gateways.forget("gw_1", "gw_2")
    assert len(await store.gateways.all()) == 1
