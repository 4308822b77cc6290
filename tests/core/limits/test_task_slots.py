"""The fair queue of an account's tasks: never too many, nobody forgotten, nobody passed over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.limits.task_slots import TaskSlots

FIRST, SECOND = ("piapi", "first"), ("piapi", "second")


@pytest.fixture
def slots() -> TaskSlots[str]:
    slots: TaskSlots[str] = TaskSlots()
    assert slots.learn(FIRST, 2) == []
    return slots


def test_an_account_of_unknown_limit_runs_everything():
    slots: TaskSlots[int] = TaskSlots()
    assert all(slots.ask(FIRST, "alice", number) for number in range(100))
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (100, 0)
    assert [slots.leave(FIRST, number) for number in range(100)] == [None] * 100
    assert slots.running(FIRST) == 0


def test_what_is_more_than_the_limit_waits_and_follows_in_its_order(slots: TaskSlots[str]):
    assert [slots.ask(FIRST, "alice", ticket) for ticket in "abcd"] == [True, True, False, False]
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (2, 2)
    assert slots.leave(FIRST, "b") == "c"
    assert slots.leave(FIRST, "c") == "d"
    assert slots.leave(FIRST, "a") is None
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (1, 0)


def test_owners_take_turns_however_much_one_of_them_wants(slots: TaskSlots[str]):
    slots.ask(FIRST, "alice", "now")
    slots.ask(FIRST, "alice", "also now")
    for ticket in ("a1", "a2", "a3"):
        slots.ask(FIRST, "alice", ticket)
    for ticket in ("b1", "b2"):
        slots.ask(FIRST, "bob", ticket)
    slots.ask(FIRST, "carol", "c1")
    order = []
    running: str | None = "now"
    while running := slots.leave(FIRST, running):
        order.append(running)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_gives_up_waiting_lets_nobody_in_and_is_never_let_in(slots: TaskSlots[str]):
    for ticket in "abcd":
        slots.ask(FIRST, "alice", ticket)
    slots.ask(FIRST, "bob", "e")
    assert slots.leave(FIRST, "c") is None
    assert slots.leave(FIRST, "e") is None
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (2, 1)
    assert slots.leave(FIRST, "a") == "d"
    assert slots.leave(FIRST, "b") is None


def test_leaving_twice_or_unasked_changes_nothing(slots: TaskSlots[str]):
    slots.ask(FIRST, "alice", "a")
    slots.ask(FIRST, "alice", "b")
    slots.ask(FIRST, "alice", "c")
    assert slots.leave(FIRST, "a") == "c"
    assert slots.leave(FIRST, "a") is None
    assert slots.leave(FIRST, "stranger") is None
    assert slots.leave(SECOND, "b") is None
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (2, 0)


def test_a_ticket_cannot_ask_twice(slots: TaskSlots[str]):
    for ticket in "abc":
        slots.ask(FIRST, "alice", ticket)
    for ticket in "ac":
        with pytest.raises(ValueError, match="asked before"):
            slots.ask(FIRST, "alice", ticket)


def test_a_limit_learned_late_or_lowered_stops_nothing_that_runs():
    slots: TaskSlots[str] = TaskSlots()
    for ticket in "abc":
        assert slots.ask(FIRST, "alice", ticket)
    assert slots.learn(FIRST, 1) == []
    assert slots.running(FIRST) == 3
    assert not slots.ask(FIRST, "alice", "d")
    assert slots.leave(FIRST, "a") is None
    assert slots.leave(FIRST, "b") is None
    assert slots.leave(FIRST, "c") == "d"


def test_a_raised_limit_lets_more_in_at_once_and_an_unknown_one_all(slots: TaskSlots[str]):
    for ticket in "abcde":
        slots.ask(FIRST, "alice", ticket)
    slots.ask(FIRST, "bob", "x")
    assert slots.learn(FIRST, 4) == ["c", "x"]
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (4, 2)
    assert slots.learn(FIRST, None) == ["d", "e"]
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (6, 0)


def test_accounts_do_not_know_each_other(slots: TaskSlots[str]):
    slots.learn(SECOND, 1)
    for ticket in "abc":
        slots.ask(FIRST, "alice", ticket)
    assert slots.ask(SECOND, "alice", "a")
    assert not slots.ask(SECOND, "alice", "b")
    assert slots.leave(SECOND, "a") == "b"
    assert slots.waiting(FIRST) == 1


def test_a_limit_outlives_the_tasks_and_an_unlimited_account_leaves_nothing_behind(slots: TaskSlots[str]):
    slots.ask(FIRST, "alice", "a")
    slots.leave(FIRST, "a")
    assert [slots.ask(FIRST, "alice", ticket) for ticket in "abc"] == [True, True, False]
    for number in range(1000):
        account = ("piapi", str(number))
        slots.ask(account, "alice", "a")
        slots.leave(account, "a")
        slots.learn(account, None)
    assert list(slots._queues) == [FIRST]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_lets_nothing_run_is_refused(slots: TaskSlots[str], limit: int):
    with pytest.raises(ValueError, match="at least 1"):
        slots.learn(FIRST, limit)


class Queue(RuleBasedStateMachine):
    """Against a plain model: lists of who runs and who waits, and of how often others went before each waiting owner.

    What is fair is said without saying how it is brought about: while an owner has something waiting all the time, no
    other owner is let in twice; and an owner's own tickets are let in in the order they came.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slots: TaskSlots[int] = TaskSlots()
        self.limit: int | None = None
        self.running: list[int] = []
        self.waiting: list[tuple[str, int]] = []
        self.passed: dict[str, set[str]] = {}  # waiting owner → those who were let in meanwhile
        self.next = 0

    @initialize(limit=st.one_of(st.none(), st.integers(1, 3)))
    def start(self, limit: int | None) -> None:
        self.learn(limit)

    def room(self) -> bool:
        return self.limit is None or len(self.running) < self.limit

    def let_in(self, ticket: int) -> None:
        assert self.room(), "one too many"
        [owner] = [owner for owner, waiting in self.waiting if waiting == ticket]
        assert ticket == next(waiting for name, waiting in self.waiting if name == owner), "not the owner's first"
        self.waiting.remove((owner, ticket))
        self.running.append(ticket)
        still = {name for name, _ in self.waiting}
        for other in still - {owner}:
            assert owner not in self.passed[other], f"{owner} went twice while {other} waited"
            self.passed[other].add(owner)
        self.passed = {name: (set() if name == owner else self.passed[name]) for name in still}

    @rule(limit=st.one_of(st.none(), st.integers(1, 5)))
    def learn(self, limit: int | None) -> None:
        self.limit = limit
        for ticket in self.slots.learn(FIRST, limit):
            self.let_in(ticket)

    @rule(owner=st.sampled_from(["alice", "bob", "carol"]))
    def ask(self, owner: str) -> None:
        ticket, self.next = self.next, self.next + 1
        runs = self.slots.ask(FIRST, owner, ticket)
        assert runs == self.room()
        if runs:
            self.running.append(ticket)
        else:
            self.waiting.append((owner, ticket))
            self.passed.setdefault(owner, set())

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.running))
        self.running.remove(ticket)
        follower = self.slots.leave(FIRST, ticket)
        if follower is not None:
            self.let_in(follower)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        owner, ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove((owner, ticket))
        assert self.slots.leave(FIRST, ticket) is None
        if owner not in {name for name, _ in self.waiting}:
            del self.passed[owner]

    @invariant()
    def nobody_is_lost_and_no_slot_is_idle(self) -> None:
        assert self.slots.running(FIRST) == len(self.running)
        assert self.slots.waiting(FIRST) == len(self.waiting)
        assert not self.waiting or not self.room()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(wants=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 8), min_size=1), limit=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_everybody_gets_through_and_small_wants_are_met_first(wants: dict[str, int], limit: int):
    """All that waits comes in, in rounds: nobody's third ticket goes before anybody's second."""
    slots: TaskSlots[tuple[str, int]] = TaskSlots()
    slots.learn(FIRST, limit)
    running = [("busy", number) for number in range(limit)]
    for ticket in running:
        assert slots.ask(FIRST, "busy", ticket)
    for owner, count in wants.items():
        assert not any(slots.ask(FIRST, owner, (owner, number)) for number in range(count))
    came = []
    while running:
        follower = slots.leave(FIRST, running.pop(0))
        if follower is not None:
            running.append(follower)
            came.append(follower)
    assert sorted(came) == sorted((owner, number) for owner, count in wants.items() for number in range(count))
    rounds = [number for _, number in came]
    assert rounds == sorted(rounds)
    assert (slots.running(FIRST), slots.waiting(FIRST)) == (0, 0)
