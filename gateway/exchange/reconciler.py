"""Asks what became of exchanges whose outcome is unknown: PiAPI knows every task by its id.

An outcome is unknown when an upstream fell silent after the work was ordered, or when this process was killed. While
such an exchange is younger than a day, its tasks are asked after now and then; once they have ended, the ledger is
corrected, and so is what its budgets hold. What is older is reported, and stays unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.core.errors import GatewayError, UpstreamFault
from gateway.core.images.task_model import price_each, priced
from gateway.core.json_weight import read_json
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.core.pricing.picture_tokens import bounded_usage
from gateway.core.pricing.price_text import price_text
from gateway.core.pricing.prices import format_usd
from gateway.core.pricing.reconciliation import Finding, TaskEnd, find
from gateway.core.types import ASYNCHRONOUS, Price, Target, Usage
from gateway.exchange.services import Services
from gateway.exchange.task_lookup import TaskReading
from gateway.stores.fleet_records import Leases
from gateway.stores.records import BookedPrice, Correction, TaskRecord, UnknownExchange
from gateway.translate.task_polling import stated_cost
from gateway.wire.images_answer import facts_in, usage_in
from gateway.wire.images_request import MAX_PROMPT
from gateway.wire.source_images import MAX_IMAGES
from gateway.wire.task_answer import TaskState, parse_task

EVERY = 600.0
"""Seconds between two rounds; the first one comes at once."""

REPORTED_NS = 2 * UNKNOWN_HELD_NS
"""How long after it came in an exchange that stays unknown may still be reported: once by each process that sees it."""


class Reconciler:
    """Looks for exchanges of unknown outcome, asks after their tasks, and corrects the ledger.

    ``resolved``: told of each exchange that is corrected, and what its key is charged, in nano-dollars. ``leases``: of
    several gateways, which of them makes the rounds; None for one that has the store alone.
    """

    def __init__(
        self,
        services: Services,
        *,
        resolved: Callable[[str, int], None],
        leases: Leases | None = None,
    ) -> None:
        self._leases = leases
        self._services = services
        self._resolved = resolved
        self._reported: set[str] = set()

    async def run(self) -> None:
        """One round after the other, for ever. A ledger that cannot be used has said so; the next round tries again."""
        while True:
            try:
                if self._leases is None or await self._leases.hold("reconciler", 1.5 * EVERY):
                    await self.look()
            except GatewayError:
                pass
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """One round. Raises errors.ledger_unavailable()."""
        now_ns = self._services.clock.wall_ns()
        unknown = await self._services.ledger.unknown_exchanges(now_ns - REPORTED_NS + 1)
        young_since = now_ns - UNKNOWN_HELD_NS
        self._report([exchange for exchange in unknown if exchange.at_ns <= young_since])
        silent: set[tuple[str, str]] = set()
        for exchange in unknown:
            if exchange.at_ns > young_since:
                await self._look_at(exchange, silent)

    async def look_at(self, id: str) -> None:
        """Look at once at an exchange of which something became known. Raises errors.ledger_unavailable()."""
        since_ns = self._services.clock.wall_ns() - UNKNOWN_HELD_NS + 1
        for exchange in await self._services.ledger.unknown_exchanges(since_ns):
            if exchange.id == id:
                await self._look_at(exchange, set())

    def _report(self, old: Sequence[UnknownExchange]) -> None:
        """Say once of each that it will stay unknown."""
        for exchange in old:
            if exchange.id not in self._reported:
                self._services.log.warning(
                    "unknown_released",
                    exchange=exchange.id,
                    key=exchange.key,
                    team=exchange.team,
                    model=exchange.model,
                    reserved_usd=format_usd(exchange.reserved),
                    task_ids=[record.task_id for record in exchange.tasks],
                    advice="compare with PiAPI's bill: piapi-gateway usage --reconcile",
                )
        self._reported = {exchange.id for exchange in old}

    async def _look_at(self, exchange: UnknownExchange, silent: set[tuple[str, str]]) -> None:
        """``silent``: upstreams' keys that got no answer in this round; they are left alone until the next.

        A killed process may have bought pieces whose task it could not write down: then the rest does not tell all.
        """
        if exchange.untold:
            return
        ends: list[TaskEnd | None] = []
        for record in exchange.tasks:
            place = (record.upstream, record.credential)
            if place in silent:
                return
            try:
                ends.append(await self._ask(record))
            except UpstreamFault as fault:
                self._services.log.warning(
                    "reconciling", task_id=record.task_id, upstream=record.upstream, code=fault.code
                )
                silent.add(place)
                return
        most = self._services.budgets.most_chargeable(exchange.key, exchange.team, exchange.model, exchange.reserved)
        finding = find(ends, exchange.other_cost, most)
        if finding is not None:
            done = ((task, end) for task, end in zip(exchange.tasks, ends, strict=True) if end and end.done)
            doer, end = next(done, (None, None))
            await self._correct(exchange, finding, doer, None if end is None else end.price)

    async def _correct(
        self, exchange: UnknownExchange, finding: Finding, doer: TaskRecord | None, price: Price | None
    ) -> None:
        """``doer``: a task that was done, None if none was. ``price``: what it was booked at."""
        services = self._services
        target = None if doer is None else self._target(doer)
        correction = Correction(
            id=exchange.id,
            at_ns=services.clock.wall_ns(),
            state=finding.state,
            charged=finding.charged,
            upstream_cost=finding.upstream_cost,
            images=finding.images,
            reason=finding.reason,
            upstream=None if doer is None else doer.upstream,
            credential=None if doer is None else doer.credential,
            confidence=finding.confidence,
            price=None if target is None else BookedPrice(target.upstream.name, target.model, price_text(price)),
        )
        if not await services.ledger.correct(correction):
            return
        services.log.info(
            "reconciled",
            exchange=exchange.id,
            key=exchange.key,
            model=exchange.model,
            state=finding.state,
            reason=finding.reason,
            cost_usd=format_usd(finding.charged),
            task_ids=[record.task_id for record in exchange.tasks],
        )
        self._resolved(exchange.id, finding.charged)

    async def _ask(self, record: TaskRecord) -> TaskEnd | None:
        """How the task ended; None if it has not, as far as is known now. Raises UpstreamFault if no host answers."""
        _, body = await TaskReading(self._services).ask(self._services.snapshot.upstreams, record)
        try:
            state = parse_task(read_json(body))
        except ValueError:  # "no such task", say: PiAPI may know better in ten minutes
            return None
        if state.status == "running" or state.task_id not in ("", record.task_id):
            return None
        target, images = self._target(record), len(state.images)
        stated = stated_cost(state.points, self._services.snapshot.points_per_usd, target, images)
        usage = _usage(state, target.price) if target.operation == "images_async" else None
        price = _price(target, state)
        return TaskEnd(state.status == "done", images, stated, price, target.operation, usage)

    def _target(self, record: TaskRecord) -> Target:
        """What the catalogue sends such tasks to, for its price; there may be none."""
        route = self._services.snapshot.routes.find(record.model)
        for target in route.targets if route is not None else ():
            if target.operation in ASYNCHRONOUS and target.upstream.name == record.upstream:
                return target
        return Target(self._services.snapshot.upstreams[record.upstream], record.model, "task")


def _usage(state: TaskState, price: Price | None) -> Usage:
    """What the picture of an asynchronous route took: as told, else the most that its size and quality can take."""
    prompt = state.asked.get("prompt")
    images = max(len(state.images), 1)
    stated = usage_in(dict(state.told), images_sent=MAX_IMAGES, images_asked=images, prompt_bytes=4 * MAX_PROMPT)
    if stated is not None:
        return replace(stated.usage, images=len(state.images))
    asked, told = facts_in(dict(state.asked)), facts_in(dict(state.told))
    return bounded_usage(
        price,
        images,
        quality=told.quality or asked.quality,
        size=told.size or asked.size,
        prompt_bytes=len(prompt.encode("utf-8", "replace")) if isinstance(prompt, str) else 0,
        sources=len(sources) if isinstance(sources := state.asked.get("images"), list) else 0,
    )


def _price(target: Target, state: TaskState) -> Price | None:
    """The target's price for this task, as far as its answer repeats what was ordered."""
    facts = target.tasks.get(state.task_type)
    return priced(target, price_each(facts, state.asked)).price if facts is not None else target.price
