"""How the room for bodies is shared."""

from __future__ import annotations

import random

from gateway.core.limits.body_memory import BodyBudget, BodyLease


def test_a_body_that_is_alone_always_has_room() -> None:
    budget = BodyBudget(100)
    lone = budget.lease("a")
    assert lone.grow(1_000)
    assert not budget.lease("b").grow(1)
    lone.release()
    assert budget.held == 0


def test_one_owner_may_take_half_while_nobody_else_wants_it_and_no_more() -> None:
    budget = BodyBudget(100)
    bodies = [budget.lease("greedy") for _ in range(10)]
    assert [body.grow(10) for body in bodies] == [True] * 5 + [False] * 5
    assert budget.lease("modest").grow(10)
    bodies[0].release()
    assert not bodies[9].grow(10)  # greedy still has more than its quarter, and half of all is taken


def test_an_owner_keeps_its_quarter_when_others_have_taken_half() -> None:
    budget = BodyBudget(100)
    assert budget.lease("greedy").grow(20)
    assert budget.lease("greedy").grow(30)
    first, second, third = (budget.lease("modest") for _ in range(3))
    assert first.grow(12)
    assert second.grow(13)
    assert not third.grow(1)


def test_all_owners_together_never_pass_the_total() -> None:
    budget = BodyBudget(100)
    assert all(budget.lease(f"owner-{number}").grow(10) for number in range(10))
    assert not budget.lease("late").grow(1)
    assert budget.held == 100


def test_a_refused_body_keeps_what_it_held_until_it_is_released() -> None:
    budget = BodyBudget(100)
    first, second = budget.lease("a"), budget.lease("b")
    assert first.grow(60)
    assert second.grow(40)
    assert not second.grow(41)
    assert budget.held == 100
    second.release()
    second.release()
    assert budget.held == 60


def test_whatever_happens_the_count_is_what_the_leases_hold() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        budget = BodyBudget(1_000)
        sizes: dict[BodyLease, int] = {}
        for _ in range(200):
            if sizes and chance.random() < 0.3:
                lease = chance.choice(list(sizes))
                lease.release()
                del sizes[lease]
            else:
                lease = chance.choice([*sizes, budget.lease(chance.choice("abc"))])
                size = sizes.get(lease, 0) + chance.randrange(200)
                if lease.grow(size):
                    sizes[lease] = size
            assert budget.held == sum(sizes.values())
            assert budget.held <= 1_000 or len([size for size in sizes.values() if size]) == 1
        for lease in sizes:
            lease.release()
        assert budget.held == 0
