"""Looks at the store: its version, its pages, what is open or held, and its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.cli.looks.finding import Finding, Seen, ok, refused, size, warning, wrong
from gateway.core.errors import StoreError

if TYPE_CHECKING:
    from gateway.stores.store_look import StoreLook

PAGES_WITHIN = 2.0
"""Seconds for a look through the pages of a file."""

LARGE_LOG = 64 << 20
"""Bytes; a log is cut back to this once it was copied."""


async def look_at_store(seen: Seen) -> Sequence[Finding]:
    """The store itself."""
    from gateway.stores import engines

    if seen.config is None:
        return []
    url = seen.config.store
    try:
        with engines.without_traces():
            found = await engines.look_at_store(url, PAGES_WITHIN)
            return judge_store(engines.read_store(url).name, found)
    except StoreError as error:
        return [refused("store", str(error).removeprefix("store: "))]


def judge_store(name: str, look: StoreLook | None) -> list[Finding]:
    """``look``: None where there is no store yet."""
    if look is None:
        return [ok("store", f"{name} is not there yet: the first start makes it")]
    shown = f"{look.name}, {look.engine}, schema {look.schema}"
    if look.schema > look.known:
        advice = "run the version that wrote it, or a newer one; or restore the backup made before the upgrade"
        return [wrong("store", f"{shown} is of a newer version; this one knows {look.known}", advice)]
    rows = [judge_damage(look)]
    if look.schema < look.known:
        advice = "back it up, then start: a gateway brings it up to date by itself"
        return [warning("store", f"{shown} is of an older version; this one has {look.known}", advice), *rows]
    return [ok("store", shown), *rows, *judge_books(look)]


def judge_damage(look: StoreLook) -> Finding:
    """Its pages, and what it has lost."""
    if look.damage:
        return wrong("store's pages", look.damage, "stop the gateway and restore a backup: piapi-gateway restore DIR")
    if look.lost:
        advice = "put back what is missing, or a backup; see docs/operating.md, 'When the books refuse'"
        return wrong("store's pages", f"it has lost what it held: {'; '.join(look.lost)}", advice)
    if look.damage is None:
        return ok("store's pages", f"nothing wrong in {PAGES_WITHIN:g} s; too many for a whole look: ledger verify")
    return ok("store's pages", "nothing wrong")


def judge_books(look: StoreLook) -> list[Finding]:
    """What is under way, and what waits to be booked."""
    still_open = "not counted" if look.open is None else str(look.open)
    found = f"requests open: {still_open}, settlements in the spill file: {look.spilled}, log: {size(look.log_bytes)}"
    if look.spilled:
        advice = "make room on the store's disk and restart the gateway: it books them as it starts"
        return [warning("books", found, advice)]
    if look.log_bytes > LARGE_LOG:
        advice = "end what reads the store for long, such as a forgotten sqlite3; the gateway then copies it back"
        return [warning("books", found, advice)]
    return [ok("books", found)]


async def look_at_held(seen: Seen) -> Sequence[Finding]:
    """Requests of unknown outcome that hold budget."""
    from gateway.stores import engines

    if seen.config is None:
        return []
    try:
        with engines.without_traces():
            store = engines.read_store(seen.config.store)
            if not await store.exists():
                return []
            held = await store.usage.held(seen.now_ns)
    except StoreError:
        return []  # the look at the store says why
    over = [one for one in held if not one.running]
    return [judge_held(len(over), sum(one.reserved for one in over))]


def judge_held(number: int, reserved: int) -> Finding:
    """``number``: of requests that have ended with an unknown outcome. ``reserved``: nano-dollars."""
    from gateway.core.pricing.prices import format_usd

    if not number:
        return ok("held budgets", "none is held for requests of unknown outcome")
    found = f"${format_usd(reserved)} for {number} requests of unknown outcome"
    return warning("held budgets", found, "see: piapi-gateway ledger held; most are looked up and freed by themselves")


async def look_at_keys(seen: Seen) -> Sequence[Finding]:
    """Virtual keys against the configuration: whose team or models it no longer has."""
    from gateway.app.key_review import review_store
    from gateway.keys.hashing import check_pepper
    from gateway.stores import engines

    if (config := seen.config) is None:
        return []
    try:
        with engines.without_traces():
            store = engines.read_store(config.store)
            sentences = await review_store(config, store)
            mark = await store.keys.pepper_mark() if await store.exists() else None
    except StoreError:
        return []  # the look at the store says why
    try:
        await asyncio.to_thread(check_pepper, config.pepper_file(store.pepper_file), config.key_pepper, mark)
    except StoreError as error:
        return [refused("virtual keys", str(error)), *(judge_keys(sentences) if sentences else ())]
    return judge_keys(sentences)


def judge_keys(sentences: Sequence[str]) -> list[Finding]:
    """``sentences``: of the review, one for each finding."""
    if not sentences:
        return [ok("virtual keys", "nothing is wrong with their teams and models")]
    rows = []
    for sentence in sentences:
        found, _, advice = sentence.partition(". ")
        rows.append(warning("virtual keys", found, advice or "see: piapi-gateway keys list"))
    return rows
