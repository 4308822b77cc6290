"""The pool of upstream keys: who is next, and who is left alone."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.routing.credentials import (
    MODEL_PAUSES_KEPT,
    MOST_REFUTED,
    SERVED_OF_LATE,
    TRIAL_LASTS,
    VOUCHED_FOR,
    CredentialPool,
    Exhausted,
    KeyReading,
)
from gateway.core.routing.key_pauses import Reason
from gateway.core.types import Credential, Phase
from tests.core.builders import Chance, ended, key, upstream

MIDDLE = Chance(0.5)


def pool_of(*keys: str | Credential) -> CredentialPool:
    return CredentialPool(upstream(keys=keys))


def take(pool: CredentialPool, now: float = 0.0, model: str = "m", exclude: tuple[str, ...] = ()) -> Credential:
    taken = pool.take(model, now, MIDDLE, exclude)
    assert isinstance(taken, Credential)
    return taken


WORKS, REFUSED, EMPTY = KeyReading(True, True), KeyReading(False), KeyReading(True, False)


def confirm(pool: CredentialPool, slug: str, now: float) -> None:
    """A request is refused, and a free read confirms it."""
    doubts: dict[str, tuple[Reason, KeyReading]] = {
        "key_invalid": ("invalid", REFUSED),
        "key_unfunded": ("unfunded", EMPTY),
    }
    fail(pool, slug, now)
    doubt, reading = doubts[slug]
    assert pool.settle("a", doubt, reading, now) == doubt


def fail(pool: CredentialPool, slug: str, now: float, *, model: str = "m", retry_after: float | None = None) -> None:
    credential = take(pool, now, model)
    pool.release(credential)
    pool.report(credential, model, ended(slug, retry_after=retry_after), now, MIDDLE)


def pause_after(pool: CredentialPool, slug: str, now: float) -> float:
    fail(pool, slug, now)
    exhausted = pool.exhaustion("m", now)
    assert exhausted is not None
    return exhausted.soonest


class TestChoice:
    def test_the_least_loaded_comes_first(self) -> None:
        pool = pool_of("a", "b", "c")
        assert {take(pool).name for _ in range(3)} == {"a", "b", "c"}

    def test_load_is_shared_by_weight(self) -> None:
        pool = pool_of(key("heavy", weight=3), key("light"))
        taken = [take(pool).name for _ in range(8)]
        assert taken.count("heavy") == 6

    def test_ties_are_broken_by_chance(self) -> None:
        rng = random.Random(1)
        first = set()
        for _ in range(60):
            taken = pool_of("a", "b", "c").take("m", 0.0, rng)
            assert isinstance(taken, Credential)
            first.add(taken.name)
        assert first == {"a", "b", "c"}

    def test_ties_are_broken_by_weight(self) -> None:
        pool, rng, taken = pool_of(key("heavy", weight=3), key("light")), random.Random(1), list[str]()
        for _ in range(400):  # one after the other: both are idle each time
            credential = pool.take("m", 0.0, rng)
            assert isinstance(credential, Credential)
            pool.release(credential)
            taken.append(credential.name)
        assert 270 < taken.count("heavy") < 330

    def test_max_parallel_is_obeyed(self) -> None:
        pool = pool_of(key("a", max_parallel=2))
        held = [take(pool), take(pool)]
        busy = pool.take("m", 0.0, MIDDLE)
        assert isinstance(busy, Exhausted)
        assert busy.reason == "busy"
        pool.release(held[0])
        assert take(pool).name == "a"

    def test_excluded_keys_are_neither_taken_nor_waited_for(self) -> None:
        pool = pool_of("a", "b")
        assert take(pool, exclude=("a",)).name == "b"
        assert pool.take("m", 0.0, MIDDLE, ("a", "b")) is None

    def test_an_empty_pool_has_nothing(self) -> None:
        pool = pool_of()
        assert len(pool) == 0
        assert pool.take("m", 0.0, MIDDLE) is None


class TestPauses:
    @pytest.mark.parametrize(
        ("slug", "reason", "pauses"),
        [
            ("key_invalid", "invalid", [5, 10, 20, 40, 60, 60]),
            ("key_unfunded", "unfunded", [5, 10, 20, 40, 60, 60]),
            ("key_forbidden", "forbidden", [5, 10, 20, 40, 80, 160, 320, 600, 600]),
            ("rate_limited", "rate_limited", [5, 10, 20, 40, 60, 60]),
        ],
    )
    def test_each_time_in_a_row_is_longer(self, slug: str, reason: str, pauses: list[float]) -> None:
        pool, now = pool_of("a"), 0.0
        for pause in pauses:
            assert pause_after(pool, slug, now) == pytest.approx(pause)
            exhausted = pool.take("m", now, MIDDLE)
            assert isinstance(exhausted, Exhausted)
            assert exhausted.reason == reason
            now += pause

    @pytest.mark.parametrize(
        ("slug", "pauses"),
        [
            ("key_invalid", [600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, 86400, 86400]),
            ("key_unfunded", [600, 1200, 2400, 3600, 3600]),
        ],
    )
    def test_each_time_a_read_confirms_it_is_longer(self, slug: str, pauses: list[float]) -> None:
        pool, now = pool_of("a"), 0.0
        for pause in pauses:
            confirm(pool, slug, now)
            exhausted = pool.take("m", now, MIDDLE, last_resort=True)
            assert isinstance(exhausted, Exhausted)
            assert exhausted.soonest == pytest.approx(pause)
            now += pause

    def test_a_success_begins_anew(self) -> None:
        pool = pool_of("a")
        fail(pool, "rate_limited", 0.0)
        fail(pool, "ok", 5.0)
        assert pause_after(pool, "rate_limited", 6.0) == pytest.approx(5.0)

    def test_a_refused_key_is_out_for_every_model_a_limited_one_for_its_own(self) -> None:
        pool = pool_of("a")
        fail(pool, "rate_limited", 0.0, model="m")
        assert take(pool, 0.0, "other").name == "a"
        pool = pool_of("a")
        fail(pool, "key_invalid", 0.0, model="m")
        assert isinstance(pool.take("other", 0.0, MIDDLE), Exhausted)

    @pytest.mark.parametrize(("asked", "given"), [(2.0, 2.0), (0.01, 0.1), (3600.0, 60.0)])
    def test_retry_after_is_obeyed_within_reason(self, asked: float, given: float) -> None:
        pool = pool_of("a")
        fail(pool, "rate_limited", 0.0, retry_after=asked)
        exhausted = pool.exhaustion("m", 0.0)
        assert exhausted == Exhausted("rate_limited", given)
        assert take(pool, given).name == "a"

    @pytest.mark.parametrize(("chance", "seconds"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
    def test_pauses_nobody_asked_for_are_spread(self, chance: float, seconds: float) -> None:
        pool = pool_of("a")
        pool.report(take(pool), "m", ended("rate_limited"), 0.0, Chance(chance))
        exhausted = pool.exhaustion("m", 0.0)
        assert exhausted is not None
        assert exhausted.soonest == pytest.approx(seconds)

    def test_a_burst_of_refusals_counts_once(self) -> None:
        pool = pool_of("a")
        burst = [take(pool) for _ in range(20)]
        for credential in burst:
            pool.report(credential, "m", ended("key_invalid"), 1.0, MIDDLE)
            pool.release(credential)
        assert pool.exhaustion("m", 1.0) == Exhausted("invalid", 5.0)

    def test_a_success_that_was_under_way_does_not_end_a_pause(self) -> None:
        pool = pool_of("a")
        slow, quick = take(pool), take(pool)
        pool.report(quick, "m", ended("key_unfunded"), 1.0, MIDDLE)
        pool.report(slow, "m", ended("ok"), 2.0, MIDDLE)
        assert isinstance(pool.take("m", 3.0, MIDDLE), Exhausted)

    def test_failures_that_are_not_the_keys_fault_do_not_touch_it(self) -> None:
        pool = pool_of("a")
        for slug in ("upstream_5xx", "connect_refused", "rejected", "client_gone_wait", "cf_524"):
            fail(pool, slug, 0.0)
        assert take(pool).name == "a"

    def test_the_reason_that_passes_soonest_is_named(self) -> None:
        pool = pool_of("a", "b")
        pool.report(take(pool, exclude=("b",)), "m", ended("key_invalid"), 0.0, MIDDLE)
        pool.report(take(pool, exclude=("a",)), "m", ended("rate_limited", retry_after=30.0), 0.0, MIDDLE)
        assert pool.take("m", 0.0, MIDDLE) == Exhausted("rate_limited", 30.0)

    def test_the_soonest_of_all_keys_counts(self) -> None:
        pool = pool_of("a", "b")
        pool.report(take(pool, exclude=("b",)), "m", ended("rate_limited", retry_after=30.0), 0.0, MIDDLE)
        pool.report(take(pool, exclude=("a",)), "m", ended("rate_limited", retry_after=7.0), 0.0, MIDDLE)
        assert pool.take("m", 0.0, MIDDLE) == Exhausted("rate_limited", 7.0)

    def test_clients_cannot_fill_the_memory(self) -> None:
        pool = pool_of("a")
        credential = take(pool)
        for number in range(MODEL_PAUSES_KEPT * 2):
            pool.report(credential, f"model-{number}", ended("rate_limited"), 0.0, MIDDLE)
        assert len(pool.snapshot(0.0)[0].models) == MODEL_PAUSES_KEPT


class TestTrial:
    def test_a_refused_key_is_tried_by_one_request_at_a_time(self) -> None:
        pool = pool_of("a")
        confirm(pool, "key_invalid", 0.0)
        trial = take(pool, 600.0)
        assert pool.take("m", 600.0, MIDDLE) == Exhausted("busy", 0.05)
        pool.answering(trial, "m", 601.0)
        assert take(pool, 601.0).name == "a"

    def test_a_trial_that_says_nothing_does_not_block_for_ever(self) -> None:
        pool = pool_of("a")
        confirm(pool, "key_invalid", 0.0)
        take(pool, 600.0)
        assert take(pool, 600.0 + TRIAL_LASTS).name == "a"

    def test_a_first_answer_says_nothing_about_a_healthy_key(self) -> None:
        pool = pool_of("a")
        pool.answering(take(pool), "m", 0.0)
        assert take(pool).name == "a"


class TestReload:
    def test_the_same_key_keeps_its_state_and_is_given_back_to_either_pool(self) -> None:
        before = pool_of("a", "b")
        held = take(before, exclude=("b",))
        fail_b = take(before, exclude=("a",))
        before.report(fail_b, "m", ended("key_invalid"), 0.0, MIDDLE)
        before.settle("b", "invalid", REFUSED, 0.0)
        after = CredentialPool(upstream(keys=(key("a", max_parallel=1), "b", "c")))
        after.adopt(before)
        assert [one.in_flight for one in after.snapshot(0.0)] == [1, 1, 0]
        assert not after.available("b", 0.0)
        assert take(after).name == "c"
        before.release(held)
        assert take(after).name == "a"

    def test_a_name_with_another_value_is_another_key(self) -> None:
        before = pool_of("a")
        fail(before, "key_invalid", 0.0)
        after = CredentialPool(upstream(keys=(Credential("a", "a new value"),)))
        after.adopt(before)
        assert after.available("a", 0.0)


def test_what_status_shows() -> None:
    pool = pool_of(key("a", max_parallel=4), "b")
    pool.report(take(pool, exclude=("b",)), "m", ended("rate_limited", retry_after=9.0), 0.0, MIDDLE)
    pool.report(take(pool, exclude=("a",)), "m", ended("key_unfunded"), 0.0, MIDDLE)
    first, second = pool.snapshot(1.0)
    assert (first.name, first.in_flight, first.max_parallel, first.cooling) == ("a", 1, 4, "rate_limited")
    assert first.seconds == 8.0
    assert first.models == {"m": ("rate_limited", 8.0)}
    assert (second.cooling, second.seconds) == ("unfunded", 4.0)
    assert "value-of" not in repr(pool.snapshot(1.0))
    assert (pool.available("a", 1.0), pool.available("b", 1.0)) == (True, True)  # one request's word
    pool.settle("b", "unfunded", EMPTY, 1.0)
    assert (pool.available("b", 1.0), pool.available("b", 600.0), pool.available("b", 601.0)) == (False, False, True)


def test_a_key_is_in_use_as_long_as_it_serves_some_model() -> None:
    pool = pool_of("a")
    for model in ("m", "n"):
        pool.report(take(pool, model=model), model, ended("ok"), 0.0, MIDDLE)
    fail(pool, "rate_limited", 1.0, model="m", retry_after=3000.0)
    assert pool.available("a", 1.0)
    fail(pool, "key_forbidden", 2.0, model="n")
    assert pool.available("a", 2.0)  # one request's word
    fail(pool, "key_forbidden", 7.0, model="n")
    assert not pool.available("a", 7.0)
    [shown] = pool.snapshot(7.0)
    assert (shown.cooling, shown.seconds) == ("forbidden", 10.0)  # what ends first
    pool.report(take(pool, model="third"), "third", ended("ok"), 8.0, MIDDLE)
    assert pool.available("a", 8.0)


def test_what_a_key_served_long_ago_does_not_count() -> None:
    pool = pool_of("a")
    pool.report(take(pool), "m", ended("ok"), 0.0, MIDDLE)
    for before in (62.0, 1.0):
        fail(pool, "rate_limited", SERVED_OF_LATE - before, model="n", retry_after=60.0)
    assert pool.available("a", SERVED_OF_LATE - 1.0)
    assert not pool.available("a", SERVED_OF_LATE)


SLUGS = ["ok", "key_invalid", "key_unfunded", "key_forbidden", "rate_limited", "upstream_5xx", "connect_refused"]


@given(
    st.lists(
        st.tuples(st.sampled_from(SLUGS), st.floats(0.0, 2000.0), st.none() | st.floats(0.0, 1e6), st.booleans()),
        max_size=40,
    ),
    st.integers(0, 2**32),
)
def test_whatever_happens_keys_come_back_and_pauses_end(
    story: list[tuple[str, float, float | None, bool]], seed: int
) -> None:
    rng = random.Random(seed)
    pool, now, held = pool_of(key("a", max_parallel=2), key("b", weight=2), "c"), 0.0, list[Credential]()
    for slug, passed, asked, keep in story:
        now += passed
        taken = pool.take("m", now, rng)
        if isinstance(taken, Credential):
            held.append(taken)
            if not keep:
                pool.release(held.pop())
            pool.report(taken, "m", ended(slug, Phase.REJECTED, retry_after=asked), now, rng)
        else:
            assert taken is not None
            assert 0.0 < taken.soonest <= 86_400.0
            later = pool.take("m", now + taken.soonest + TRIAL_LASTS, rng, ("a",))
            if isinstance(later, Credential):
                held.append(later)
    for credential in held:
        pool.release(credential)
    assert all(one.in_flight == 0 for one in pool.snapshot(now))


def said(pool: CredentialPool, slug: str, now: float, asker: str, *, retry_after: float | None = None) -> None:
    """A request of this member, with the key "a", that began just now."""
    credential = pool._credentials["a"]
    pool.hold(credential)
    pool.release(credential)
    pool.report(credential, "m", ended(slug, retry_after=retry_after), now, MIDDLE, asker=asker, began=now)


def usable(pool: CredentialPool, now: float, asker: str, *, last_resort: bool = False) -> bool:
    taken = pool.take("m", now, MIDDLE, asker=asker, last_resort=last_resort)
    if isinstance(taken, Credential):
        pool.release(taken)
    return isinstance(taken, Credential)


KEY_SLUGS = ["key_invalid", "key_unfunded", "key_forbidden", "rate_limited"]


class TestWhoSaysIt:
    @pytest.mark.parametrize("slug", KEY_SLUGS)
    def test_one_members_word_is_one_however_often_it_is_said(self, slug: str) -> None:
        pool = pool_of("a")
        for second in range(20):
            said(pool, slug, float(second), "alice", retry_after=3600.0)
            assert usable(pool, float(second), "bob")
        assert not usable(pool, 19.0, "alice")

    @pytest.mark.parametrize("slug", KEY_SLUGS)
    def test_the_word_of_two_counts_for_all_and_first_for_seconds(self, slug: str) -> None:
        pool = pool_of("a")
        for second in range(9):
            said(pool, slug, float(second), "alice")
        said(pool, slug, 9.0, "bob")
        assert not usable(pool, 9.0, "carol")
        assert not pool.available("a", 9.0)
        assert usable(pool, 14.0, "carol")  # nine words of one member lengthen nothing for the others

    def test_once_it_holds_for_all_one_member_does_not_lengthen_it_by_doubling(self) -> None:
        pool = pool_of("a")
        said(pool, "key_forbidden", 0.0, "bob")
        for second in range(1, 20):
            said(pool, "key_forbidden", float(second), "alice")
        assert pool.exhaustion("m", 19.0, asker="carol") == Exhausted("forbidden", 5.0)

    def test_a_word_of_long_ago_confirms_nothing(self) -> None:
        pool = pool_of("a")
        said(pool, "key_forbidden", 0.0, "alice")
        said(pool, "key_forbidden", 100.0, "bob")
        assert usable(pool, 100.0, "carol")
        assert not usable(pool, 100.0, "bob")

    @pytest.mark.parametrize("slug", ["key_invalid", "key_unfunded", "key_forbidden"])
    def test_another_members_success_refutes_it(self, slug: str) -> None:
        pool = pool_of("a")
        said(pool, slug, 0.0, "alice")
        said(pool, "ok", 1.0, "bob")
        assert usable(pool, 1.0, "alice")

    def test_but_not_a_rate_limit_which_larger_requests_may_meet(self) -> None:
        pool = pool_of("a")
        said(pool, "rate_limited", 0.0, "alice", retry_after=30.0)
        said(pool, "ok", 1.0, "bob")
        assert not usable(pool, 1.0, "alice")
        assert usable(pool, 1.0, "bob")


class TestLastResort:
    @pytest.mark.parametrize("slug", ["key_invalid", "key_unfunded", "key_forbidden"])
    def test_a_refusal_that_nothing_confirmed_never_keeps_the_last_key_from_use(self, slug: str) -> None:
        pool = pool_of("a")
        for second, asker in enumerate(["alice", "bob"] * 10):
            said(pool, slug, float(second), asker)
            assert all(usable(pool, float(second), who, last_resort=True) for who in ("alice", "bob", "carol"))

    def test_a_rate_limit_does_for_seconds(self) -> None:
        pool = pool_of("a")
        said(pool, "rate_limited", 0.0, "alice", retry_after=50.0)
        assert not usable(pool, 4.9, "alice", last_resort=True)
        assert usable(pool, 5.0, "alice", last_resort=True)

    def test_but_not_at_first_if_it_is_longer_than_any_window(self) -> None:
        pool = pool_of("a")
        said(pool, "rate_limited", 0.0, "alice", retry_after=3600.0)
        assert usable(pool, 0.0, "alice", last_resort=True)
        said(pool, "rate_limited", 0.0, "alice", retry_after=3600.0)
        assert not usable(pool, 9.9, "alice", last_resort=True)

    def test_members_in_league_keep_it_from_a_third_for_seconds_only(self) -> None:
        pool = pool_of("a")
        for second in range(20):
            for asker in ("alice", "bob"):
                said(pool, "rate_limited", float(second), asker, retry_after=3600.0)
        assert not usable(pool, 20.0, "carol", last_resort=True)
        assert usable(pool, 39.0, "carol", last_resort=True)

    def test_what_a_read_confirmed_is_no_last_resort(self) -> None:
        pool = pool_of("a")
        confirm(pool, "key_invalid", 0.0)
        assert not usable(pool, 100.0, "bob", last_resort=True)


class TestTheFreeRead:
    def test_a_key_that_works_is_usable_at_once_and_for_a_while_whatever_requests_are_answered(self) -> None:
        pool = pool_of("a")
        said(pool, "key_invalid", 0.0, "alice")
        assert pool.settle("a", "invalid", WORKS, 0.1) == "works"
        said(pool, "key_invalid", 0.2, "alice")
        assert usable(pool, 0.2, "alice")
        said(pool, "key_invalid", 0.1 + VOUCHED_FOR, "alice")
        assert not usable(pool, 0.1 + VOUCHED_FOR, "alice")

    def test_what_was_vouched_for_says_nothing_of_another_doubt(self) -> None:
        pool = pool_of("a")
        said(pool, "key_invalid", 0.0, "alice")
        pool.settle("a", "invalid", KeyReading(valid=True), 0.1)
        said(pool, "key_unfunded", 0.2, "alice")
        assert not usable(pool, 0.2, "alice")

    @pytest.mark.parametrize("reading", [KeyReading(), KeyReading(valid=True)])
    def test_a_reading_that_cannot_tell_changes_nothing(self, reading: KeyReading) -> None:
        pool = pool_of("a")
        said(pool, "key_unfunded", 0.0, "alice")
        assert pool.settle("a", "unfunded", reading, 0.1) == "unknown"
        assert pool.exhaustion("m", 1.0, asker="alice") == Exhausted("unfunded", 4.0)

    def test_reads_that_contradict_every_request_are_believed_no_more(self) -> None:
        pool, now = pool_of("a"), 0.0
        found = []
        for _ in range(MOST_REFUTED + 1):
            said(pool, "key_invalid", now, "alice")
            found.append(pool.settle("a", "invalid", WORKS, now))
            now += 10.0
        assert found == ["works"] * MOST_REFUTED + ["unknown"]
        said(pool, "ok", now, "bob")
        said(pool, "key_invalid", now, "alice")
        assert pool.settle("a", "invalid", WORKS, now) == "works"

    def test_a_pause_that_was_confirmed_is_not_lengthened_by_the_next_reading(self) -> None:
        pool = pool_of("a")
        confirm(pool, "key_invalid", 0.0)
        pool.settle("a", "invalid", REFUSED, 300.0)
        assert pool.exhaustion("m", 300.0) == Exhausted("invalid", 300.0)
        assert pool.settle("a", "invalid", WORKS, 400.0) == "works"
        assert usable(pool, 400.0, "alice")

    def test_money_that_is_gone_is_no_answer_to_a_doubt_about_the_key(self) -> None:
        pool = pool_of("a")
        said(pool, "key_invalid", 0.0, "alice")
        assert pool.settle("a", "invalid", EMPTY, 0.1) == "works"

    def test_a_request_that_was_served_since_is_believed_before_a_read(self) -> None:
        pool = pool_of("a")
        said(pool, "key_invalid", 0.0, "alice")
        said(pool, "ok", 0.1, "bob")
        assert pool.settle("a", "invalid", REFUSED, 0.2) == "unknown"
        assert usable(pool, 0.2, "alice")
        said(pool, "key_invalid", 0.3, "alice")
        assert pool.settle("a", "invalid", REFUSED, 0.4) == "invalid"


def test_the_keys_besides_some() -> None:
    pool = pool_of("a", "b", "c")
    assert pool.besides([key("b")]) == {"a", "c"}
    assert pool.besides([key("a"), key("b"), key("c")]) == set()


class TestToldToOthers:
    """A pause that one gateway has seen, in the pool of another."""

    @staticmethod
    def pair() -> tuple[CredentialPool, CredentialPool]:
        """Two pools; the second hears what the first tells."""
        first, second = pool_of("a", "b"), pool_of("a", "b")
        first.on_pause = second.hear
        return first, second

    def test_a_rate_limit_rests_the_key_for_that_model(self) -> None:
        first, second = self.pair()
        fail(first, "rate_limited", 0.0, retry_after=30.0)
        [paused] = [one for one in first.snapshot(0.0) if one.models]
        assert second.snapshot(1.0) == [replace(one, in_flight=0) for one in first.snapshot(1.0)]
        assert take(second, 1.0).name != paused.name

    def test_a_key_that_served_the_model_is_out_of_use_then(self) -> None:
        first, second = pool_of("a"), pool_of("a")
        first.on_pause = second.hear
        second.answering(take(second), "m", 0.0)
        fail(first, "rate_limited", 1.0, retry_after=30.0)
        fail(first, "rate_limited", 32.0, retry_after=30.0)
        assert not second.available("a", 33.0)

    @pytest.mark.parametrize("slug", ["key_invalid", "key_unfunded"])
    def test_what_a_free_read_finds_holds_everywhere(self, slug: str) -> None:
        first, second = pool_of("a"), pool_of("a")
        first.on_pause = second.hear
        confirm(first, slug, 0.0)
        exhausted = second.exhaustion("m", 60.0)
        assert exhausted is not None
        assert exhausted.confirmed
        doubt = exhausted.reason
        assert first.settle("a", doubt, WORKS, 100.0) == "works"
        assert second.exhaustion("m", 100.0) is None

    def test_a_success_ends_it_everywhere(self) -> None:
        first, second = pool_of("a"), pool_of("a")
        first.on_pause = second.hear
        fail(first, "rate_limited", 0.0, retry_after=5.0)
        fail(first, "key_unfunded", 6.0)
        assert second.exhaustion("m", 6.0) is not None
        [credential] = upstream(keys=("a",)).credentials
        first.answering(credential, "m", 12.0, began=11.5)
        assert second.exhaustion("m", 6.0) is None

    def test_the_next_refusal_lengthens_what_was_heard(self) -> None:
        first, second = pool_of("a"), pool_of("a")
        first.on_pause = second.hear
        fail(first, "rate_limited", 0.0)
        fail(second, "rate_limited", 7.0)
        [seen] = second.snapshot(7.0)
        assert seen.models["m"][1] == pytest.approx(10.0)

    def test_what_is_heard_is_not_told_again_and_a_strange_key_is_passed_over(self) -> None:
        first, second = self.pair()
        told = list[str]()
        second.on_pause = lambda name, *_: told.append(name)
        fail(first, "rate_limited", 0.0)
        assert told == []
        before = second.snapshot(0.0)
        second.hear("another", None, None)
        second.hear("another", "m", None)
        assert second.snapshot(0.0) == before

    def test_no_more_models_are_kept_than_of_our_own(self) -> None:
        first, second = pool_of("a"), pool_of("a")
        first.on_pause = second.hear
        for number in range(MODEL_PAUSES_KEPT + 5):
            fail(first, "rate_limited", 0.0, model=f"m{number}")
        [seen] = second.snapshot(0.0)
        assert len(seen.models) == MODEL_PAUSES_KEPT
