"""A pool of upstream keys: which one to use next, and which ones to pause.

A refused key (401) or one without money (402) is paused for all models, a forbidden (403) or rate limited one (429)
only for the model it was used with. Each repetition doubles the pause; a success resets it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.chance import Randomness
from gateway.core.outcomes.retry_after import LONGEST, SHORTEST
from gateway.core.outcomes.table import RULES, Scope
from gateway.core.types import Credential, Outcome, Upstream

Reason = Literal["rate_limited", "busy", "unfunded", "forbidden", "invalid"]

BUSY_AGAIN_IN = 0.05
"""Seconds until a pool whose keys are all in use is asked again."""

TRIAL_LASTS = 30.0
"""Seconds for which a key that was refused before is tried by one request only."""

SERVED_OF_LATE = 600.0
"""Seconds for which a key that served one model counts as in use, even though all its other models are paused."""

MODEL_PAUSES_KEPT = 256
"""Pauses kept per key. A route may end in ``*``, so clients choose how many models there are."""


@dataclass(frozen=True, slots=True)
class KeyPause:
    """How long a key is paused after an outcome.

    ``first``: seconds of the first pause, doubled each time in a row.
    ``longest``: seconds of the longest pause.
    ``jitter``: the share by which chance may shorten or lengthen a pause.
    """

    reason: Reason
    first: float
    longest: float
    jitter: float = 0.0


KEY_PAUSES: Mapping[str, KeyPause] = {
    "key_invalid": KeyPause("invalid", 600.0, 86_400.0),
    "key_unfunded": KeyPause("unfunded", 600.0, 3_600.0),
    "key_forbidden": KeyPause("forbidden", 600.0, 600.0),
    "rate_limited": KeyPause("rate_limited", 5.0, 60.0, jitter=0.2),
}

_SHOWN_FIRST: tuple[Reason, ...] = ("busy", "rate_limited", "unfunded", "forbidden", "invalid")
"""The order in which a pool names the reason that no key is free: what passes soonest by itself comes first."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No key can be used now.

    ``soonest``: seconds until one may be usable.
    """

    reason: Reason
    soonest: float


@dataclass(slots=True)
class _Cooling:
    """A pause under way."""

    reason: Reason
    until: float
    times: int = 1


@dataclass(slots=True)
class _KeyState:
    """The state of one key."""

    in_flight: int = 0
    trial_until: float = 0.0
    whole: _Cooling | None = None
    by_model: dict[str, _Cooling] = field(default_factory=dict)
    served: str | None = None  # the last model it served, and when
    served_at: float = 0.0

    def out(self, now: float) -> _Cooling | None:
        """The pause that keeps the key out of use: one for all models, or, if every model it is known to be used for is
        paused, the first of those to end. None if the key is in use.
        """
        if self.whole is not None and now < self.whole.until:
            return self.whole
        if self.served is not None and now < self.served_at + SERVED_OF_LATE:
            return None
        first = min(self.by_model.values(), key=lambda cooling: cooling.until, default=None)
        return first if first is not None and now < first.until else None


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """One key as ``status`` shows it.

    ``max_parallel``: None if it has no limit.
    ``cooling``: why the key is out of use, for all models or for every model it was used for recently; None if it is in
        use.
    ``seconds``: how long it stays out of use; 0 if it is in use.
    ``models``: the pauses of single models: model → reason and seconds left.
    """

    name: str
    in_flight: int
    max_parallel: int | None
    cooling: Reason | None
    seconds: float
    models: dict[str, tuple[Reason, float]]


class CredentialPool:
    """The keys of one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._credentials = {credential.name: credential for credential in upstream.credentials}
        self._states = {name: _KeyState() for name in self._credentials}

    def __len__(self) -> int:
        return len(self._credentials)

    def adopt(self, previous: CredentialPool) -> None:
        """Take over the state of keys that stayed the same through a reload.

        The state is shared, not copied: exchanges that took a key from the previous pool give it back there.
        """
        for name, credential in self._credentials.items():
            before = previous._credentials.get(name)
            if before is not None and before.value == credential.value:
                self._states[name] = previous._states[name]

    def take(
        self, model: str, now: float, rng: Randomness, exclude: Collection[str] = ()
    ) -> Credential | Exhausted | None:
        """The usable key with the lowest load for its weight, among equals by weighted chance. ``release`` gives it
        back.

        ``exclude``: names of keys that must not be taken.
        Returns None if the pool has no key besides those.
        """
        best: Credential | None = None
        least = 0.0
        ties = 0
        for name, credential in self._credentials.items():
            if name in exclude or self._why_not(credential, model, now) is not None:
                continue
            load = self._states[name].in_flight / credential.weight
            if best is None or load < least:
                best, least, ties = credential, load, credential.weight
            elif load == least:
                ties += credential.weight
                if rng.random() * ties < credential.weight:
                    best = credential
        if best is None:
            return self.exhaustion(model, now, exclude)
        state = self._states[best.name]
        state.in_flight += 1
        if state.whole is not None:
            state.trial_until = now + TRIAL_LASTS
        return best

    def exhaustion(self, model: str, now: float, exclude: Collection[str] = ()) -> Exhausted | None:
        """Why no key can be used now; None if one can be, or if ``exclude`` leaves none."""
        found: dict[Reason, float] = {}
        for name, credential in self._credentials.items():
            if name in exclude:
                continue
            hindrance = self._why_not(credential, model, now)
            if hindrance is None:
                return None
            found[hindrance.reason] = min(hindrance.soonest, found.get(hindrance.reason, hindrance.soonest))
        for reason in _SHOWN_FIRST:
            if reason in found:
                return Exhausted(reason, found[reason])
        return None

    def hold(self, credential: Credential) -> None:
        """Take this same key again, for a second try on a fresh connection."""
        self._states[credential.name].in_flight += 1

    def release(self, credential: Credential) -> None:
        """Give back a key that was taken or held."""
        self._states[credential.name].in_flight -= 1

    def report(self, credential: Credential, model: str, outcome: Outcome, now: float, rng: Randomness) -> None:
        """Update the key's state by the outcome of an attempt."""
        state = self._states[credential.name]
        state.trial_until = 0.0
        scope = RULES[outcome.slug].against
        if scope is Scope.KEY:
            state.whole = _cooled(state.whole, outcome, now, rng)
        elif scope is Scope.KEY_MODEL:
            if state.served == model:
                state.served = None
            cooling = _cooled(state.by_model.pop(model, None), outcome, now, rng)
            if len(state.by_model) >= MODEL_PAUSES_KEPT:
                del state.by_model[next(iter(state.by_model))]
            state.by_model[model] = cooling
        elif outcome.ok:
            _serves(state, model, now)
            _forgive(state, model, now)

    def answering(self, credential: Credential, model: str, now: float) -> None:
        """Record that an attempt with this key has begun to be answered, which shows that the key works."""
        state = self._states[credential.name]
        _serves(state, model, now)
        if state.whole is not None or state.by_model:
            state.trial_until = 0.0
            _forgive(state, model, now)

    def available(self, name: str, now: float) -> bool:
        """Whether a key is in use: paused neither for all models nor for every model it was used for recently."""
        return self._states[name].out(now) is None

    def snapshot(self, now: float) -> list[KeySnapshot]:
        """Every key as ``status`` shows it."""
        outs = {name: state.out(now) for name, state in self._states.items()}
        return [
            KeySnapshot(
                name=name,
                in_flight=state.in_flight,
                max_parallel=self._credentials[name].max_parallel,
                cooling=out.reason if (out := outs[name]) is not None else None,
                seconds=out.until - now if out is not None else 0.0,
                models={
                    model: (cooling.reason, cooling.until - now)
                    for model, cooling in state.by_model.items()
                    if now < cooling.until
                },
            )
            for name, state in self._states.items()
        ]

    def _why_not(self, credential: Credential, model: str, now: float) -> Exhausted | None:
        state = self._states[credential.name]
        for cooling in (state.whole, state.by_model.get(model)):
            if cooling is not None and now < cooling.until:
                return Exhausted(cooling.reason, cooling.until - now)
        # A key that was refused is tried by one request at a time until it has worked again.
        full = credential.max_parallel is not None and state.in_flight >= credential.max_parallel
        if full or now < state.trial_until:
            return Exhausted("busy", BUSY_AGAIN_IN)
        return None


def _cooled(before: _Cooling | None, outcome: Outcome, now: float, rng: Randomness) -> _Cooling:
    """The pause after ``outcome``. Requests already under way when a pause began do not lengthen it by doubling."""
    pause = KEY_PAUSES[outcome.slug]
    again = before is not None and before.reason == pause.reason
    under_way = before is not None and again and now < before.until
    times = 1 if before is None or not again else before.times + (0 if under_way else 1)
    if outcome.retry_after is not None and pause.reason == "rate_limited":
        seconds = min(max(outcome.retry_after, SHORTEST), LONGEST)
    else:
        seconds = min(pause.first * 2.0 ** min(times - 1, 30), pause.longest)
        seconds *= 1.0 + pause.jitter * (2.0 * rng.random() - 1.0)
    until = now + seconds
    if under_way and before is not None:
        until = max(before.until, until)
    return _Cooling(pause.reason, until, times)


def _serves(state: _KeyState, model: str, now: float) -> None:
    """Remember one model that the key serves; one besides its paused models is enough."""
    cooling = state.by_model.get(model)
    if cooling is None or now >= cooling.until:
        state.served, state.served_at = model, now


def _forgive(state: _KeyState, model: str, now: float) -> None:
    """Forget pauses that have ended, after a success. A pause that began while the request was under way stays."""
    if state.whole is not None and now >= state.whole.until:
        state.whole = None
    cooling = state.by_model.get(model)
    if cooling is not None and now >= cooling.until:
        del state.by_model[model]
