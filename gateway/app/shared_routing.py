"""What the gateways of a fleet tell one another of upstreams: which keys rest, what fails, how many tasks may run.

Each gateway acts on what it sees by itself, at once; what follows from it is told, and taken over by the others as it
is: a pause with its reason and end, a breaker that has opened or closed. What is counted on the way there (failures in
a row, the share of them) stays each gateway's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.core.limits.task_slots import UpstreamAccount
from gateway.core.routing.breaker import Breaker, OpenBreaker
from gateway.core.routing.health import SLOW_FOR, BreakerKind
from gateway.core.routing.key_pauses import REMEMBERED_FOR, Cooling
from gateway.core.routing.route_table import UpstreamStates
from gateway.core.types import Credential
from gateway.exchange.services import Services
from gateway.shared_state.base import Message
from gateway.telemetry.redaction import fingerprint
from gateway.upstream.task_limiter import LEARN_AGAIN

ENDED_FOR = 600.0
"""Seconds for which it is kept that a pause has ended or a breaker has closed."""


class SharedRouting:
    """The pauses and breakers of one gateway, told and heard. ``follow`` those of each configuration in force."""

    def __init__(self, services: Services) -> None:
        self._services = services
        services.shared.listen("cooldowns", self._hear_pause)
        services.shared.listen("breakers", self._hear_breaker)
        services.shared.listen("task_limits", self._hear_task_limit)
        services.task_limiter.share(services.shared.limits, lambda: services.shared.up)
        services.task_limiter.on_learned = self._tell_task_limit

    def follow(self, states: UpstreamStates) -> None:
        """Tell of these from now on."""
        for state in states:
            name, keys = state.upstream.name, {one.name: one for one in state.upstream.credentials}
            state.pool.on_pause = partial(self._tell_pause, name, keys)
            state.health.on_breaker = partial(self._tell_breaker, name)
            state.health.on_slow = partial(self._tell_slow, name)

    # Told

    def _tell_pause(
        self, upstream: str, keys: Mapping[str, Credential], key: str, model: str | None, pause: Cooling | None
    ) -> None:
        now = self._now()
        # The key itself is told by a few digits of its hash: of two configurations, the same name may be another key.
        mark = fingerprint(keys[key].value)
        message: dict[str, Any] = {"upstream": upstream, "key": key, "mark": mark, "model": model}
        lasts = ENDED_FOR
        if pause is not None:
            message["pause"] = _told_pause(pause, now)
            lasts = pause.until - now + REMEMBERED_FOR
        self._services.shared.keep("cooldowns", f"{upstream} {mark} {model or ''}", message, lasts)

    def _tell_breaker(self, upstream: str, kind: BreakerKind, name: str, breaker: Breaker) -> None:
        told = breaker.shown(self._now())
        message: dict[str, Any] = {"upstream": upstream, kind: name}
        lasts = ENDED_FOR
        if told is not None:
            message["open"] = {
                "since": told.since, "left": told.left, "only_for": told.only_for, "times": told.times,
            }  # fmt: skip
            lasts = told.left + self._services.snapshot.states.policy.eject_max
        self._services.shared.keep("breakers", f"{upstream} {kind} {name}", message, lasts)

    def _tell_slow(self, upstream: str, url: str, model: str) -> None:
        message = {"upstream": upstream, "slow": {"endpoint": url, "model": model, "left": SLOW_FOR}}
        self._services.shared.keep("breakers", f"{upstream} slow {url} {model}", message, SLOW_FOR)

    def _tell_task_limit(self, account: UpstreamAccount, limit: int) -> None:
        message = {"upstream": account[0], "key": account[1], "limit": limit}
        self._services.shared.keep("task_limits", f"{account[0]}/{account[1]}", message, LEARN_AGAIN)

    # Heard

    def _hear_task_limit(self, message: Message) -> None:
        self._services.task_limiter.hear((message["upstream"], message["key"]), message["limit"])

    def _hear_pause(self, message: Message) -> None:
        state = self._services.snapshot.states.get(message["upstream"])
        if state is None:
            return
        for key in state.upstream.credentials:
            if key.name == message["key"] and fingerprint(key.value) == message["mark"]:
                now, told = self._now(), message.get("pause")
                pause = None if told is None else _heard_pause(told, now - message["age"])
                state.pool.hear(key.name, message["model"], pause)

    def _hear_breaker(self, message: Message) -> None:
        state = self._services.snapshot.states.get(message["upstream"])
        if state is None:
            return
        age, now = message["age"], self._now()
        if (slow := message.get("slow")) is not None:
            state.health.hear_slow(slow["endpoint"], slow["model"], slow["left"] - age, now)
            return
        kind: BreakerKind = "endpoint" if "endpoint" in message else "model"
        told = message.get("open")
        open = None if told is None else OpenBreaker(
            told["since"] + age, told["left"] - age, told["only_for"], told["times"]
        )  # fmt: skip
        state.health.hear_breaker(kind, message[kind], open, now)

    def _now(self) -> float:
        return self._services.clock.monotonic()


def _told_pause(pause: Cooling, now: float) -> dict[str, Any]:
    """A pause whose times are seconds from now."""
    return {
        "reason": pause.reason,
        "asker": pause.asker,
        "last": pause.last,
        "since": pause.since - now,
        "until": pause.until - now,
        "may_try": pause.may_try - now,
        "times": pause.times,
        "confirmed": pause.confirmed,
        "confirmations": pause.confirmations,
    }


def _heard_pause(told: Mapping[str, Any], at: float) -> Cooling:
    """``at``: when it was told, by our clock."""
    return Cooling(
        told["reason"],
        told["asker"],
        told["last"],
        at + told["since"],
        at + told["until"],
        at + told["may_try"],
        times=told["times"],
        confirmed=told["confirmed"],
        confirmations=told["confirmations"],
    )
