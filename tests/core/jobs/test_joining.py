"""Which job a request joins: all the rules, one by one and together."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.core.errors import ClientError
from gateway.core.jobs.job_state import AFTER, JobState, end_state, is_over
from gateway.core.jobs.joining import MOST_OF_A_KEY, Marks, checked_key, job_to_join

SECOND = 1_000_000_000
JOIN, KEEP = 600 * SECOND, 3600 * SECOND
NOW = 1_000_000 * SECOND
AGAIN = Marks(again=True)
KEY = Marks(idempotency=b"digest")


@dataclass
class Job:
    name: str = "job"
    fingerprint: bytes = b"body"
    idempotency: bytes | None = None
    state: JobState = "running"
    created_ns: int = 1
    ended_ns: int | None = None
    purchased: bool = True
    told: bool = False
    left: bool = False
    taken: bool = False


def ended(ago: int, **more: object) -> Job:
    return Job(**{"state": "completed", "ended_ns": NOW - ago, **more})  # type: ignore[arg-type]


def joined(jobs: list[Job], marks: Marks = AGAIN, fingerprint: bytes = b"body") -> Job | None:
    return job_to_join(jobs, fingerprint, marks, NOW, join_ns=JOIN, keep_ns=KEEP)


@pytest.mark.parametrize("job", [Job(), Job(left=True), ended(0)])
def test_without_a_mark_none_is_joined(job: Job) -> None:
    assert joined([job], Marks()) is None
    assert not Marks()


@pytest.mark.parametrize("state", ["reserved", "running"])
def test_one_that_runs_is_joined(state: JobState) -> None:
    job = Job(state=state)
    assert joined([job]) is job


@pytest.mark.parametrize(
    ("job", "marks", "joins"),
    [
        (ended(JOIN - 1), AGAIN, True),
        (ended(JOIN), AGAIN, False),
        (ended(JOIN, idempotency=b"digest"), KEY, True),
        (ended(KEEP - 1, idempotency=b"digest"), KEY, True),
        (ended(KEEP, idempotency=b"digest"), KEY, False),
        (ended(0, idempotency=b"digest"), AGAIN, True),
        (ended(0), KEY, False),
        (ended(0, idempotency=b"another"), KEY, False),
        (ended(0, idempotency=b"another"), Marks(again=True, idempotency=b"digest"), False),
        (ended(0, fingerprint=b"another"), AGAIN, False),
        (ended(0, purchased=False), AGAIN, False),
        (ended(0, state="failed", purchased=False), AGAIN, False),
        (ended(0, state="failed", purchased=True), AGAIN, True),
        (ended(0, state="cancelled", purchased=False), AGAIN, False),
        (ended(0, state="unknown", purchased=False), AGAIN, True),
        (ended(0, state="unknown", purchased=False, told=True), AGAIN, False),
        (ended(JOIN, state="unknown"), AGAIN, False),
        (Job(state="completed", ended_ns=None), AGAIN, False),
    ],
)
def test_one_that_has_ended(job: Job, marks: Marks, joins: bool) -> None:
    assert joined([job], marks) is (job if joins else None)


@pytest.mark.parametrize("job", [Job(idempotency=b"digest"), ended(KEEP - 1, idempotency=b"digest")])
def test_another_body_under_one_key_is_refused(job: Job) -> None:
    with pytest.raises(ClientError) as refused:
        joined([job], KEY, b"another body")
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert not refused.value.should_retry


@pytest.mark.parametrize(
    "job", [ended(KEEP, idempotency=b"digest"), ended(0, idempotency=b"digest", state="failed", purchased=False)]
)
def test_a_key_is_free_again_once_nothing_was_bought_or_its_job_is_forgotten(job: Job) -> None:
    assert joined([job], KEY, b"another body") is None


class TestOfSeveral:
    def test_the_oldest_whose_client_left(self) -> None:
        first, second, third = (Job(created_ns=at, left=at < 3) for at in (1, 2, 3))
        assert joined([third, second, first]) is first

    def test_that_no_other_re_send_took(self) -> None:
        first, second = Job(created_ns=1, left=True, taken=True), Job(created_ns=2, left=True)
        assert joined([first, second]) is second

    def test_else_the_newest(self) -> None:
        jobs = [Job(created_ns=1, left=True, taken=True), Job(created_ns=3), Job(created_ns=2)]
        assert joined(jobs) is jobs[1]


class TestKeys:
    @pytest.mark.parametrize("key", [b"a", b"x" * MOST_OF_A_KEY, b"order 1", bytes(range(0x21, 0x7F))])
    def test_that_are_taken(self, key: bytes) -> None:
        assert checked_key([key]) == key

    def test_none(self) -> None:
        assert checked_key([]) is None

    @pytest.mark.parametrize(
        "keys", [[b""], [b"x" * 256], [b" a"], [b"a "], [b"a\x7f"], [b"caf\xc3\xa9"], [b"a", b"a"]]
    )
    def test_that_are_not(self, keys: list[bytes]) -> None:
        with pytest.raises(ClientError) as refused:
            checked_key(keys)
        assert (refused.value.status, refused.value.param) == (400, "Idempotency-Key")


def test_states_that_are_over_have_nothing_after_them() -> None:
    assert {state for state in AFTER if is_over(state)} == {"completed", "failed", "unknown", "cancelled"}
    assert all(after <= AFTER.keys() for after in AFTER.values())


@pytest.mark.parametrize(
    ("completed", "unknown", "bought", "gone", "state"),
    [
        (True, False, True, False, "completed"),
        (True, True, True, True, "completed"),
        (False, True, True, False, "unknown"),
        (False, False, True, True, "failed"),
        (False, False, False, True, "cancelled"),
        (False, False, False, False, "failed"),
    ],
)
def test_how_a_job_ended(completed: bool, unknown: bool, bought: bool, gone: bool, state: JobState) -> None:
    assert end_state(completed=completed, unknown=unknown, bought=bought, gone=gone) == state
