"""A task is asked after until it has ended, whatever goes wrong on the way (see ``transcript.py`` and ``tasks.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.billing_terms import USUAL_TERMS
from gateway.core.errors import TransportError
from gateway.core.types import Endpoint, Outcome, Phase, Price, Target, TaskTimes, Usage
from gateway.translate.commands import Awaiting, Command, Conversing, Send, Sleep, Stalled
from gateway.translate.presenting import Emitting
from gateway.translate.task_polling import (
    TASK_ERROR_LIMIT,
    TaskPolling,
    failure_words,
    is_task_id,
    stated_cost,
    task_path,
)
from gateway.wire.answer_head import Head
from gateway.wire.task_answer import TaskState

from .tasks import API, CONTEXT, FLUX, ID, KEY, PIECES, POINTS_PER_USD, PROXY, done, task, tell, whole
from .transcript import Told, play

UNPRICED = replace(FLUX, price=None)


class Waiting:
    """The smallest conversation: asks after one task until it has ended."""

    images = 0
    progress = 0
    usage: Usage | None = None
    answer: bytes | None = None
    quality: str | None = None
    size: str | None = None
    stated_cost: int | None = None
    note: str | None = None
    terms = USUAL_TERMS

    def __init__(
        self,
        target: Target = FLUX,
        endpoint: Endpoint = API,
        jitter: Callable[[], float] = lambda: 0.5,
        wakeup: str | None = None,
    ) -> None:
        context = replace(CONTEXT, target=target, endpoint=endpoint)
        self._polling = TaskPolling(context, jitter=jitter, wakeup=wakeup)
        self.task_id: str | None = ID
        self.state: TaskState | None = None

    delivered = 0

    def estimate(self) -> Usage:
        return Usage()

    def converse(self) -> Conversing:
        self.state = yield from self._polling.until_ended(ID, self._tell)
        return Outcome("ok", Phase.FORWARDED, 200)

    def _tell(self) -> Emitting:
        yield from ()


def waits(talk: Waiting, told: Iterable[Told]) -> list[float]:
    """The seconds it waited, one number for every question."""
    said, outcome = play(talk, told)
    assert outcome.ok
    return [command.seconds for command in said if isinstance(command, Sleep)]


def hosts(said: Iterable[Command]) -> list[str]:
    return [command.endpoint.host for command in said if isinstance(command, Send) and command.endpoint is not None]


class TestQuestionsThatFail:
    """None ends the work: the next one goes to the next host."""

    def test_every_kind_of_failure(self) -> None:
        talk = Waiting()
        tell(
            talk,
            """
            << sleep 2
            << send GET to api.piapi.ai
            >> (reset)
            << sleep 3
            << send GET to proxy.piapi.ai
            >> (stall)
            << sleep 4.5
            << send GET to api.piapi.ai
            >> 200 application/json
            << receive content
            >> nonsense
            << receive content
            >> (stall)
            << sleep 6.75
            << send GET to proxy.piapi.ai
            >> 200 application/json
            << receive content
            >> (reset)
            << sleep 10.125
            << send GET to api.piapi.ai
            >> 524 text/html
            << receive content
            >> page
            << receive content
            >> (end)
            << sleep 15
            << send GET to proxy.piapi.ai
            >> 200 text/html
            << receive content
            >> page
            << receive content
            >> (end)
            << sleep 15
            << send GET to api.piapi.ai
            >> 200: nonsense
            << sleep 15
            << send GET to proxy.piapi.ai
            >> 404: missing
            << sleep 15
            << send GET to api.piapi.ai
            >> 503: broken
            << sleep 15
            << send GET to proxy.piapi.ai
            >> 200: refused
            << sleep 15
            << send GET to api.piapi.ai
            >> 200: pending
            << sleep 15
            << send GET to api.piapi.ai
            >> 200: done
            == ok FORWARDED
            """,
        )
        assert talk.state is not None
        assert talk.state.status == "done"

    @pytest.mark.parametrize(
        "told",
        [
            whole(PIECES["missing"], 404),
            whole(PIECES["broken"], 500),
            whole(PIECES["refused"], 401),
            whole(b'{"code": 200, "data": null, "message": "success"}'),
            whole(b'{"code": 200, "data": [], "message": "success"}'),
            whole(b"[]"),
            whole(b""),
            whole(b"\x1f\x8b", 200, (b"content-encoding", b"gzip")),
            whole(b"error code: 502", 502),
            [
                Head(200, ((b"content-type", b"application/json"),)),
                TransportError("connection_reset", Phase.UNKNOWN, ""),
            ],
            [TransportError("connect_refused", Phase.UNSENT, "nobody there")],
            [Stalled(Awaiting.HEAD, 30)],
        ],
    )
    def test_each_alone(self, told: list[Told]) -> None:
        said, outcome = play(Waiting(), [*told, *whole(done())])
        assert outcome.ok
        assert hosts(said) == [API.host, PROXY.host]

    def test_an_answer_about_another_task_is_none(self) -> None:
        talk = Waiting()
        said, _ = play(talk, [*whole(task("completed", id="another")), *whole(done())])
        assert hosts(said) == [API.host, PROXY.host]
        assert talk.state is not None
        assert talk.state.task_id == ID

    def test_an_error_without_end_is_not_read_to_its_end(self) -> None:
        flood = [b"x" * TASK_ERROR_LIMIT, b"x"]
        said, outcome = play(Waiting(), [Head(500, ()), *flood, *whole(done())])
        assert outcome.ok
        assert hosts(said) == [API.host, PROXY.host]

    def test_a_task_is_first_asked_for_where_it_was_made(self) -> None:
        said, _ = play(Waiting(endpoint=PROXY), [Stalled(Awaiting.HEAD, 30)] * 2 + whole(done()))
        assert hosts(said) == [PROXY.host, API.host, PROXY.host]

    def test_the_only_host_is_asked_again(self) -> None:
        alone = replace(FLUX, upstream=replace(FLUX.upstream, endpoints=(API,)))
        said, _ = play(Waiting(alone), [Stalled(Awaiting.HEAD, 30)] * 2 + whole(done()))
        assert hosts(said) == [API.host] * 3


class TestWaits:
    def test_they_grow_up_to_the_longest(self) -> None:
        assert waits(Waiting(), [*whole(PIECES["pending"]) * 7, *whole(done())]) == [
            2, 3, 4.5, 6.75, 10.125, 15, 15, 15
        ]  # fmt: skip

    def test_a_hint_may_end_each(self) -> None:
        said, _ = play(Waiting(wakeup="task-7"), [*whole(PIECES["pending"]) * 2, *whole(done())])
        assert [command.wakeup for command in said if isinstance(command, Sleep)] == ["task-7"] * 3

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.floats(0, 1, exclude_max=True), min_size=9, max_size=9), st.integers(1, 9))
    def test_chance_moves_them_by_a_fifth_at_most(self, chances: list[float], questions: int) -> None:
        drawn: Iterator[float] = iter(chances)
        told = [*whole(PIECES["pending"]) * (questions - 1), *whole(done())]
        talk = Waiting(jitter=lambda: next(drawn, 0.5))
        plain = [2, 3, 4.5, 6.75, 10.125, 15, 15, 15, 15][:questions]
        for wait, middle in zip(waits(talk, told), plain, strict=True):
            assert 0.8 * middle <= wait <= 1.2 * middle + 1e-9

    def test_chance_is_asked_anew_each_time(self) -> None:
        drawn = iter([0.0, 0.25, 0.75, 0.5])
        talk = Waiting(jitter=lambda: next(drawn))
        assert waits(talk, [*whole(PIECES["pending"]) * 2, *whole(done())]) == pytest.approx([1.6, 2.7, 4.95])

    def test_they_are_the_upstreams_own(self) -> None:
        quick = replace(FLUX, upstream=replace(FLUX.upstream, tasks=TaskTimes(poll=0.02, poll_max=0.04)))
        assert waits(Waiting(quick), [*whole(PIECES["pending"]) * 3, *whole(done())]) == pytest.approx(
            [0.02, 0.03, 0.04, 0.04]
        )

    @pytest.mark.parametrize("status", [200, 429])
    def test_a_limited_rate_doubles_the_next(self, status: int) -> None:
        told = [*whole(PIECES["limited"], status), *whole(PIECES["pending"]), *whole(done())]
        assert waits(Waiting(), told) == [2, 6, 4.5]

    @pytest.mark.parametrize("status", [429, 503])
    @pytest.mark.parametrize(("asked", "waited"), [(b"20", 20.0), (b"3600", 60.0)])
    def test_a_host_that_asks_for_peace_has_it(self, status: int, asked: bytes, waited: float) -> None:
        told = [*whole(PIECES["broken"], status, (b"retry-after", asked)), *whole(done())]
        assert waits(Waiting(), told) == [2, waited]

    def test_but_no_less_than_without_asking(self) -> None:
        told = [*whole(PIECES["limited"], 429, (b"retry-after", b"1")), *whole(done())]
        assert waits(Waiting(), told) == [2, 6]


@pytest.mark.parametrize("id", [ID, "a", "A_b-9", "x" * 128])
def test_ids_that_can_be_asked_after(id: str) -> None:
    assert is_task_id(id)
    assert task_path(id) == f"/api/v1/task/{id}"


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\n", "ä", "x" * 129])
def test_ids_that_cannot(id: str) -> None:
    assert not is_task_id(id)
    with pytest.raises(ValueError, match="a task id has"):
        task_path(id)


@pytest.mark.parametrize(
    ("points", "per_usd", "cost"),
    [
        (20_000, 10_000_000, 2_000_000),
        (200_000, 10_000_000, 20_000_000),
        (1, 10_000_000, 100),
        (1, 3_000_000_000, 0),
        (1, 2_000_000_000, 1),
        (2, 3, 666_666_667),
        (1, 3, 333_333_333),
        (0, 10_000_000, None),
        (-5, 10_000_000, None),
        (None, 10_000_000, None),
    ],
)
def test_points_are_nano_dollars_rounded_half_up(points: int | None, per_usd: int, cost: int | None) -> None:
    assert stated_cost(points, per_usd, UNPRICED, 1) == cost


@pytest.mark.parametrize(
    ("points", "images", "cost"),
    [
        (3_000_000, 1, 300_000_000),
        (3_000_001, 1, None),
        (3_000_001, 0, None),
        (12_000_000, 4, 1_200_000_000),
        (12_000_001, 4, None),
        (1_000_000_000, 1, None),
    ],
)
def test_points_are_believed_up_to_twenty_times_the_price(points: int, images: int, cost: int | None) -> None:
    """Of 15 million nano-dollars an image; beyond that the price counts, which is what None leads to."""
    assert stated_cost(points, POINTS_PER_USD, FLUX, images) == cost


def test_a_model_without_a_price_is_believed_as_far_as_a_hundred_dollars() -> None:
    assert stated_cost(1_000_000_000, POINTS_PER_USD, UNPRICED, 1) == 100_000_000_000


def test_a_price_of_nothing_says_nothing_about_what_a_task_may_cost() -> None:
    assert stated_cost(20_000, POINTS_PER_USD, replace(FLUX, price=Price(image=0)), 1) == 2_000_000


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, None),
        ("task  failed\nat once", "task failed at once"),
        (f"refused {KEY}", "refused [redacted]"),
        ("see https://img.theapi.app/x", "see https://img.theapi.app/x"),
        ("see http://127.0.0.1:8/x", "see [link]"),
        ("<html><body>no</body></html>", None),
        ("half a \ud83d character", "half a ? character"),
    ],
)
def test_the_words_of_a_failure_are_fit_to_be_shown(error: str | None, words: str | None) -> None:
    assert failure_words(TaskState(ID, "failed", error=error), CONTEXT) == words
