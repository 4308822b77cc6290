"""A pool of upstream keys: which one to use next, and which ones to pause.

A refused key (401) or one without money (402) is paused for all models, a forbidden (403) or rate limited one (429)
only for the model it was used with; which members and for how long is said in ``key_pauses.py``. Whether a 401 or 402
was about the key or about one request is learned by a free read, for which ``report`` asks and whose answer ``settle``
takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.chance import Randomness
from gateway.core.outcomes.table import RULES, Scope
from gateway.core.routing.key_pauses import KEY_PAUSES, REMEMBERED_FOR, Cooling, Reason, confirmed, cooled
from gateway.core.types import Credential, Outcome, Upstream

BUSY_AGAIN_IN = 0.05
"""Seconds until a pool whose keys are all in use is asked again."""

TRIAL_LASTS = 30.0
"""Seconds for which a key that a free read found refused is tried by one request only, once its pause is over."""

SERVED_OF_LATE = 600.0
"""Seconds for which a key that served one model counts as in use, even though all its other models are paused."""

MODEL_PAUSES_KEPT = 256
"""Pauses kept per key. A route may end in ``*``, so clients choose how many models there are."""


_SHOWN_FIRST: tuple[Reason, ...] = ("busy", "rate_limited", "unfunded", "forbidden", "invalid")
"""The order in which a pool names the reason that no key is free: what passes soonest by itself comes first."""


VOUCHED_FOR = 5.0
"""Seconds after a free read found a key in order for which requests that say otherwise do not pause it."""

PROVED_FOR = 5.0
"""Seconds for which a request that a key served is believed before a read that finds the key refused."""

MOST_REFUTED = 3
"""Reads in a row that found a key in order while no request succeeded with it. From then on the reads are not believed:
there are keys that may read and not ask."""

Finding = Literal["works", "invalid", "unfunded", "unknown"]


@dataclass(frozen=True, slots=True)
class KeyReading:
    """What a free read told of a key; None where it could not tell.

    ``valid``: whether the key is accepted. ``funded``: whether its account has money.
    """

    valid: bool | None = None
    funded: bool | None = None


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No key can be used now.

    ``soonest``: seconds until one may be usable.
    ``confirmed``: a free read has confirmed the reason.
    """

    reason: Reason
    soonest: float
    confirmed: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _KeyState:
    """The state of one key."""

    in_flight: int = 0
    trial_until: float = 0.0
    whole: Cooling | None = None
    by_model: dict[str, Cooling] = field(default_factory=dict)
    served: str | None = None  # the last model it served, the member, and when
    served_to: str = ""
    served_at: float = 0.0
    vouched: Reason | None = None  # the doubt that a free read has refuted, and for how long that holds
    vouched_until: float = 0.0
    proved_at: float = -math.inf  # when the newest request that it served began
    refuted: int = 0  # doubts that a free read refuted, since a request last succeeded

    def out(self, now: float) -> Cooling | None:
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
    """The keys of one upstream.

    ``on_pause``: told of each pause that begins, changes or ends by what was seen here: the key's name, the model (None
    for all) and the pause (None: there is none any more).
    """

    def __init__(self, upstream: Upstream) -> None:
        self.on_pause: Callable[[str, str | None, Cooling | None], None] = lambda *_: None
        self._credentials = {credential.name: credential for credential in upstream.credentials}
        self._states = {name: _KeyState() for name in self._credentials}

    def __len__(self) -> int:
        return len(self._credentials)

    def besides(self, some: Collection[Credential]) -> set[str]:
        """The names of all keys but ``some``."""
        return self._credentials.keys() - {one.name for one in some}

    def adopt(self, previous: CredentialPool) -> None:
        """Take over the state of keys that stayed the same through a reload.

        The state is shared, not copied: exchanges that took a key from the previous pool give it back there.
        """
        for name, credential in self._credentials.items():
            before = previous._credentials.get(name)
            if before is not None and before.value == credential.value:
                self._states[name] = previous._states[name]

    def take(
        self,
        model: str,
        now: float,
        rng: Randomness,
        exclude: Collection[str] = (),
        *,
        asker: str = "",
        last_resort: bool = False,
    ) -> Credential | Exhausted | None:
        """The usable key with the lowest load for its weight, among equals by weighted chance. ``release`` gives it
        back.

        ``exclude``: names of keys that must not be taken.
        ``asker``: the member whose request it is.
        ``last_resort``: there is no other way to serve the request, so a key whose pause nothing has confirmed will do.
        Returns None if the pool has no key besides those.
        """
        usable = []
        for name, one in self._credentials.items():
            if name in exclude:
                continue
            state = self._states[name]
            never_refused = state.whole is None and not state.by_model and not state.trial_until
            if (never_refused and one.max_parallel is None) or self._why_not(one, model, now, asker) is None:
                usable.append(one)
        best = usable[0] if len(usable) == 1 else self._least_loaded(usable, rng)
        if best is None and last_resort:
            best = self._least_loaded(self._doubtful(model, now, exclude), rng)
        if best is None:
            return self.exhaustion(model, now, exclude, asker=asker)
        state = self._states[best.name]
        state.in_flight += 1
        if state.whole is not None and state.whole.confirmed:
            state.trial_until = now + TRIAL_LASTS
        return best

    def exhaustion(self, model: str, now: float, exclude: Collection[str] = (), *, asker: str = "") -> Exhausted | None:
        """Why no key can be used now; None if one can be, or if ``exclude`` leaves none."""
        found: dict[Reason, Exhausted] = {}
        for name, credential in self._credentials.items():
            if name in exclude:
                continue
            hindrance = self._why_not(credential, model, now, asker)
            if hindrance is None:
                return None
            before = found.get(hindrance.reason)
            if before is None or hindrance.soonest < before.soonest:
                found[hindrance.reason] = hindrance
        return next((found[reason] for reason in _SHOWN_FIRST if reason in found), None)

    def hold(self, credential: Credential) -> None:
        """Take this same key again, for a second try on a fresh connection."""
        self._states[credential.name].in_flight += 1

    def release(self, credential: Credential) -> None:
        """Give back a key that was taken or held."""
        self._states[credential.name].in_flight -= 1

    def report(
        self,
        credential: Credential,
        model: str,
        outcome: Outcome,
        now: float,
        rng: Randomness,
        *,
        asker: str = "",
        began: float | None = None,
    ) -> Reason | None:
        """Update the key's state by the outcome of an attempt that ``began`` then. Returns the doubt that a free read
        of the key is to settle, if there is one.
        """
        state = self._states[credential.name]
        state.trial_until = 0.0
        if outcome.ok:
            self._succeeded(credential.name, state, model, asker, now, began)
            return None
        scope = RULES[outcome.slug].against
        if scope is Scope.KEY:
            doubt = KEY_PAUSES[outcome.slug].reason
            if state.vouched != doubt or now >= state.vouched_until:
                state.whole = cooled(state.whole, outcome, now, rng, asker=asker, began=began)
                self.on_pause(credential.name, None, state.whole)
            return doubt
        if scope is Scope.KEY_MODEL:
            cooling = cooled(state.by_model.pop(model, None), outcome, now, rng, asker=asker, began=began)
            _pause_model(state, model, cooling)
            self.on_pause(credential.name, model, cooling)
        return None

    def answering(
        self, credential: Credential, model: str, now: float, *, asker: str = "", began: float | None = None
    ) -> None:
        """Record that an attempt with this key has begun to be answered, which shows that the key works."""
        state = self._states[credential.name]
        if state.whole is not None or state.by_model:
            state.trial_until = 0.0
        self._succeeded(credential.name, state, model, asker, now, began)

    def hear(self, name: str, model: str | None, pause: Cooling | None) -> None:
        """Take over a pause that another gateway has seen begin, change or end. A key that is not of this pool is
        passed over.
        """
        state = self._states.get(name)
        if state is None:
            return
        if model is None:
            state.whole = pause
            return
        state.by_model.pop(model, None)
        if pause is not None:
            _pause_model(state, model, pause)

    def doubted(self, name: str, now: float) -> Reason | None:
        """Why a key as a whole is paused; None if it is not."""
        whole = self._states[name].whole
        return whole.reason if whole is not None and now < whole.until else None

    def pause_ends(self, name: str) -> float:
        """When the pause of a key as a whole ends; 0 if there is none."""
        whole = self._states[name].whole
        return 0.0 if whole is None else whole.until

    def settle(self, name: str, doubt: Reason, reading: KeyReading, now: float) -> Finding:
        """Act on a free read that was made because of ``doubt`` ("invalid" or "unfunded"), and say what it comes to.

        A key that works is usable again at once: the answer was about the request.
        """
        state = self._states[name]
        bad = reading.valid is False or (doubt == "unfunded" and reading.funded is False)
        if bad and state.whole is None and now < state.proved_at + PROVED_FOR:
            return "unknown"
        if bad:
            found: Literal["invalid", "unfunded"] = "invalid" if reading.valid is False else "unfunded"
            state.whole = confirmed(state.whole, found, now)
            self.on_pause(name, None, state.whole)
            return found
        works = reading.valid if doubt == "invalid" else reading.funded
        if not works or (state.refuted >= MOST_REFUTED and not (state.whole is not None and state.whole.confirmed)):
            return "unknown"
        state.refuted += 1
        state.whole, state.vouched, state.vouched_until = None, doubt, now + VOUCHED_FOR
        self.on_pause(name, None, None)
        return "works"

    def available(self, name: str, now: float) -> bool:
        """Whether a key is in use: paused neither for all models nor for every model it was used for recently, on more
        than one request's word. Between the short pauses of a key that no free read tells of, it is not in use either.
        """
        state = self._states[name]
        whole, out = state.whole, state.out(now)
        if whole is not None and whole.is_weighty and not whole.confirmed and now < whole.until + REMEMBERED_FOR:
            return False
        return out is None or not out.is_weighty

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

    def _least_loaded(self, usable: Iterable[Credential], rng: Randomness) -> Credential | None:
        best: Credential | None = None
        least = 0.0
        ties = 0
        for credential in usable:
            load = self._states[credential.name].in_flight / credential.weight
            if best is None or load < least:
                best, least, ties = credential, load, credential.weight
            elif load == least:
                ties += credential.weight
                if rng.random() * ties < credential.weight:
                    best = credential
        return best

    def _doubtful(self, model: str, now: float, exclude: Collection[str]) -> Iterable[Credential]:
        """The keys that may be tried in spite of their pauses; a rate limited one by one request in some seconds."""
        for name, credential in self._credentials.items():
            state = self._states[name]
            if name in exclude or now < state.trial_until or _is_full(credential, state):
                continue
            if all(one is None or one.may_be_tried(now) for one in (state.whole, state.by_model.get(model))):
                yield credential

    def _why_not(self, credential: Credential, model: str, now: float, asker: str) -> Exhausted | None:
        state = self._states[credential.name]
        for cooling in (state.whole, state.by_model.get(model)):
            if cooling is not None and cooling.holds(asker, now):
                return Exhausted(cooling.reason, cooling.until - now, cooling.confirmed)
        # A key that a free read found refused is tried by one request at a time until it has worked again.
        if _is_full(credential, state) or now < state.trial_until:
            return Exhausted("busy", BUSY_AGAIN_IN)
        return None

    def _succeeded(self, name: str, state: _KeyState, model: str, asker: str, now: float, began: float | None) -> None:
        state.refuted = 0
        if began is not None and began > state.proved_at:
            state.proved_at = began
        cooling = state.by_model.get(model) if state.by_model else None
        if cooling is None or not cooling.holds(asker, now) or _refutes(cooling, asker, now, began):
            state.served, state.served_to, state.served_at = model, asker, now
        if state.whole is not None and _refutes(state.whole, asker, now, began):
            state.whole = None
            self.on_pause(name, None, None)
        if cooling is not None and _refutes(cooling, asker, now, began):
            del state.by_model[model]
            self.on_pause(name, model, None)


def _pause_model(state: _KeyState, model: str, cooling: Cooling) -> None:
    if state.served == model and cooling.asker in (None, state.served_to):
        state.served = None
    if len(state.by_model) >= MODEL_PAUSES_KEPT:
        del state.by_model[next(iter(state.by_model))]
    state.by_model[model] = cooling


def _is_full(credential: Credential, state: _KeyState) -> bool:
    return credential.max_parallel is not None and state.in_flight >= credential.max_parallel


def _refutes(cooling: Cooling, asker: str, now: float, began: float | None) -> bool:
    """Whether the success of a request that ``began`` then ends a pause: one that is over, or one that began before the
    request. A pause that began while the request was under way stays; so does the rate limit of another member, whose
    requests may be larger.
    """
    if now >= cooling.until:
        return True
    if began is None or began < cooling.since:
        return False
    return cooling.reason != "rate_limited" or cooling.asker in (None, asker)
