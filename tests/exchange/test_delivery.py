"""When an answer's head goes out, what keeps the connection alive until then, and that the two never mix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from gateway.core.errors import OPENAI_ERRORS, GatewayError, internal_error
from gateway.exchange.delivery import Client, Delivery, Headers
from gateway.runtime.tasks import TrackedTasks

EVENT_STREAM = b"text/event-stream; charset=utf-8"
PING = b": ping\n\n"
SOON = 0.01
"""Seconds that stand for HOLD and for the time between beats."""


class Recorder:
    """A client that writes down what it is sent. ``hold(name)`` blocks a method after its bytes are on their way."""

    request_id = "req-1"
    stalled = False
    error_form = OPENAI_ERRORS

    def __init__(self) -> None:
        self.started = False
        self.gone = False
        self.calls: list[tuple[Any, ...]] = []
        self.cut: list[str] = []
        """Methods that were cancelled in the middle."""
        self._held: dict[str, asyncio.Event] = {}
        self.inside: str | None = None

    def hold(self, name: str) -> asyncio.Event:
        """The method stays inside until the event is set."""
        return self._held.setdefault(name, asyncio.Event())

    async def _pass(self, name: str) -> None:
        assert self.inside is None, f"{name} in the middle of {self.inside}"
        self.inside = name
        try:
            if name in self._held:
                await self._held[name].wait()
        except asyncio.CancelledError:
            self.cut.append(name)
            raise
        finally:
            self.inside = None

    async def start(self, status: int, headers: Headers, *, body_follows: bool = False) -> None:
        assert not self.started, "a second head"
        await self._pass("start")
        self.started = True
        self.calls.append(("start", status, dict(headers), body_follows))

    async def write(self, data: bytes) -> None:
        assert self.started, "a body before its head"
        self.calls.append(("write", data))
        await self._pass("write")

    def write_now(self, data: bytes) -> bool:
        return False

    async def finish(self) -> None:
        await self._pass("finish")
        self.calls.append(("finish",))

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        assert not self.started, "a second head"
        await self._pass("respond")
        self.started = True
        self.calls.append(("respond", status, dict(headers), body))

    async def error(self, error: GatewayError, headers: Headers = ()) -> None:
        assert not self.started, "a second head"
        self.calls.append(("error", error.status, dict(headers)))

    async def stream_error(self, error: GatewayError) -> None:
        assert self.started
        assert self.inside is None
        self.calls.append(("stream_error", error.code))

    def watch(self, on_gone: Callable[[], None]) -> None:
        raise AssertionError("the exchange watches, not the delivery")

    def abort(self) -> None:
        raise AssertionError("the exchange cuts off, not the delivery")

    # Looking

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    @property
    def body(self) -> bytes:
        return b"".join(call[1] for call in self.calls if call[0] == "write")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)

    async def beats(self, count: int, beat: bytes = PING) -> None:
        await self.until(lambda: self.calls.count(("write", beat)) >= count)


_: type[Client] = Recorder


@pytest.fixture
def client() -> Recorder:
    return Recorder()


@pytest.fixture
async def tasks() -> AsyncIterator[TrackedTasks]:
    errors: list[BaseException] = []
    running = TrackedTasks(lambda _, error: errors.append(error))
    yield running
    await running.cancel_all()
    assert errors == []


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.exchange.delivery.HOLD", SOON)
    monkeypatch.setattr("gateway.exchange.delivery.PING_EVERY", SOON)


class Attempts:
    """What the headers tell: they are asked for when the head goes out, not before."""

    count = 0

    def headers(self) -> Headers:
        return ((b"x-gateway-attempts", b"%d" % self.count),)


@pytest.fixture
def attempts() -> Attempts:
    return Attempts()


@pytest.fixture
async def stream(client: Recorder, attempts: Attempts, tasks: TrackedTasks) -> Delivery:
    return Delivery(client, stream=True, heartbeat=0, headers=attempts.headers, tasks=tasks)


def spawn(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


async def is_stuck(task: asyncio.Task[Any]) -> bool:
    """Whether it still waits after everything that could run has run, and some beats might have come."""
    await asyncio.sleep(3 * SOON)
    return not task.done()


class TestStreams:
    async def test_the_head_goes_out_with_the_first_bytes(
        self, client: Recorder, stream: Delivery, attempts: Attempts
    ) -> None:
        attempts.count = 2
        await stream.emit(b"data: one\n\n", True)
        assert stream.committed
        attempts.count = 3
        await stream.emit(b"data: two\n\n", True)
        await stream.complete(None, ((b"x-gateway-cost-usd", b"1"),))
        head = {b"content-type": EVENT_STREAM, b"x-gateway-attempts": b"2"}
        assert client.calls == [
            ("start", 200, head, True),
            ("write", b"data: one\n\n"),
            ("write", b"data: two\n\n"),
            ("finish",),
        ]

    async def test_a_comment_commits_to_nothing(self, client: Recorder, stream: Delivery) -> None:
        committed = [stream.committed]
        for data, meaningful in ((PING, False), (b"data: one\n\n", True)):
            await stream.emit(data, meaningful)
            committed.append(stream.committed)
        assert committed == [False, False, True]
        assert client.names == ["start", "write", "write"]

    async def test_a_failure_before_the_head_is_a_true_status(
        self, client: Recorder, stream: Delivery, attempts: Attempts
    ) -> None:
        attempts.count = 3
        await stream.fail(internal_error())
        assert client.calls == [("error", 500, {b"x-gateway-attempts": b"3"})]

    async def test_a_failure_after_the_head_is_an_event(self, client: Recorder, stream: Delivery) -> None:
        await stream.emit(b"data: one\n\n", True)
        await stream.fail(internal_error())
        assert client.names == ["start", "write", "stream_error"]

    async def test_nothing_is_sent_to_one_that_has_gone(self, client: Recorder, stream: Delivery) -> None:
        """But it counts as committed: what the upstream sent was sent to this request."""
        client.gone = True
        await stream.emit(b"data: one\n\n", True)
        assert (client.calls, stream.committed) == ([], True)

    @pytest.mark.usefixtures("soon")
    async def test_when_nothing_comes_for_long_the_head_and_comments_go_out(
        self, client: Recorder, stream: Delivery
    ) -> None:
        await client.beats(3)
        assert not stream.committed  # another upstream may still be tried
        await stream.emit(b"data: one\n\n", True)
        await stream.complete(None)
        assert client.names[0] == "start"
        assert client.calls[0][1:] == (200, {b"content-type": EVENT_STREAM, b"x-gateway-attempts": b"0"}, False)
        assert client.body == PING * (len(client.calls) - 3) + b"data: one\n\n"
        assert client.names[-1] == "finish"

    @pytest.mark.usefixtures("soon")
    async def test_a_failure_behind_the_comments_is_an_event(self, client: Recorder, stream: Delivery) -> None:
        await client.beats(1)
        await stream.fail(internal_error())
        assert client.names[-1] == "stream_error"

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("ending", ["emit", "complete", "fail", "abandon"])
    async def test_no_beat_comes_after_anything_else(
        self, ending: str, client: Recorder, stream: Delivery, tasks: TrackedTasks
    ) -> None:
        await client.beats(2)
        if ending == "emit":
            await stream.emit(b"data: one\n\n", True)
        elif ending == "complete":
            await stream.complete(None)
        elif ending == "fail":
            await stream.fail(internal_error())
        else:
            stream.abandon()
            await client.until(lambda: len(tasks) == 0)
        assert len(tasks) == 0
        calls = list(client.calls)
        await asyncio.sleep(3 * SOON)
        assert client.calls == calls

    @pytest.mark.usefixtures("soon")
    @pytest.mark.parametrize("ending", ["emit", "complete", "fail", "abandon"])
    async def test_no_beat_comes_at_all_once_it_is_over_before_the_first(
        self, ending: str, client: Recorder, stream: Delivery, tasks: TrackedTasks
    ) -> None:
        if ending == "emit":
            await stream.emit(b"data: one\n\n", True)
        elif ending == "complete":
            await stream.complete(b"{}")
        elif ending == "fail":
            await stream.fail(internal_error())
        else:
            stream.abandon()
        await asyncio.sleep(3 * SOON)
        assert PING not in client.body
        assert len(tasks) == 0

    @pytest.mark.usefixtures("soon")
    async def test_the_beats_end_when_the_client_goes(
        self, client: Recorder, stream: Delivery, tasks: TrackedTasks
    ) -> None:
        await client.beats(1)
        client.gone = True
        await client.until(lambda: len(tasks) == 0)


@pytest.mark.usefixtures("soon")
class TestAKeepAliveThatIsBeingWritten:
    """It is waited for, and never cut: half a head, or a head twice, would spoil the answer."""

    @pytest.mark.parametrize("where", ["start", "write"])
    async def test_content_waits_for_it(self, where: str, client: Recorder, stream: Delivery) -> None:
        free = client.hold(where)
        await client.until(lambda: client.inside == where)
        emitting = spawn(stream.emit(b"data: one\n\n", True))
        assert await is_stuck(emitting)
        free.set()
        await emitting
        await stream.complete(None)
        assert client.cut == []
        assert client.names == ["start", *["write"] * (len(client.calls) - 2), "finish"]
        # A head that was held is followed by no beat: content had come by then.
        assert client.body == (PING if where == "write" else b"") + b"data: one\n\n"

    @pytest.mark.parametrize("where", ["start", "write"])
    @pytest.mark.parametrize("ending", ["complete", "fail"])
    async def test_an_end_waits_for_it(self, where: str, ending: str, client: Recorder, stream: Delivery) -> None:
        free = client.hold(where)
        await client.until(lambda: client.inside == where)
        ended = spawn(stream.complete(None) if ending == "complete" else stream.fail(internal_error()))
        assert await is_stuck(ended)
        free.set()
        await ended
        assert client.cut == []
        assert client.names[0] == "start"
        assert client.names[-1] == ("finish" if ending == "complete" else "stream_error")
        assert client.names.count("start") == 1

    @pytest.mark.parametrize("where", ["start", "write"])
    async def test_even_if_the_first_wait_for_it_was_cancelled(
        self, where: str, client: Recorder, stream: Delivery
    ) -> None:
        """The request's time is up while its first content waits for the keep-alive: then the error waits for it."""
        free = client.hold(where)
        await client.until(lambda: client.inside == where)
        emitting = spawn(stream.emit(b"data: one\n\n", True))
        assert await is_stuck(emitting)
        emitting.cancel()
        await asyncio.wait({emitting})
        assert emitting.cancelled()
        assert client.inside == where
        failing = spawn(stream.fail(internal_error()))
        assert await is_stuck(failing)
        free.set()
        await failing
        assert client.cut == []
        assert (client.names.count("start"), client.names[-1]) == (1, "stream_error")

    async def test_bytes_that_commit_to_nothing_do_not_start_a_second_head(
        self, client: Recorder, stream: Delivery
    ) -> None:
        await client.beats(1)
        await stream.emit(b": upstream\n\n", False)
        await stream.complete(None)
        assert client.names.count("start") == 1


class TestWholeAnswers:
    def whole(self, client: Recorder, attempts: Attempts, tasks: TrackedTasks, heartbeat: float) -> Delivery:
        return Delivery(client, stream=False, heartbeat=heartbeat, headers=attempts.headers, tasks=tasks)

    async def test_one_answer_with_its_headers(self, client: Recorder, attempts: Attempts, tasks: TrackedTasks) -> None:
        delivery = self.whole(client, attempts, tasks, 60)
        attempts.count = 1
        await delivery.complete(b'{"id":1}', ((b"x-gateway-cost-usd", b"0.01"),))
        head = {b"content-type": b"application/json", b"x-gateway-attempts": b"1", b"x-gateway-cost-usd": b"0.01"}
        assert client.calls == [("respond", 200, head, b'{"id":1}')]

    @pytest.mark.usefixtures("soon")
    async def test_without_a_heartbeat_nothing_goes_out_before_it(
        self, client: Recorder, attempts: Attempts, tasks: TrackedTasks
    ) -> None:
        """A whole answer has no hold: its status stays true however long it takes."""
        delivery = self.whole(client, attempts, tasks, 0)
        await asyncio.sleep(3 * SOON)
        assert client.calls == []
        await delivery.fail(internal_error())
        assert client.names == ["error"]

    async def test_a_heartbeat_is_white_space_before_the_answer(
        self, client: Recorder, attempts: Attempts, tasks: TrackedTasks
    ) -> None:
        delivery = self.whole(client, attempts, tasks, SOON)
        await client.beats(3, b" ")
        await delivery.complete(b'{"id":1}')
        await asyncio.sleep(2 * SOON)
        assert client.calls[0] == (
            "start",
            200,
            {b"content-type": b"application/json", b"x-gateway-attempts": b"0"},
            False,
        )
        assert client.body.lstrip(b" ") == b'{"id":1}'
        assert client.names[-1] == "finish"
        assert client.names.count("start") == 1

    async def test_an_error_behind_a_heartbeat_is_the_body(
        self, client: Recorder, attempts: Attempts, tasks: TrackedTasks
    ) -> None:
        delivery = self.whole(client, attempts, tasks, SOON)
        await client.beats(1, b" ")
        await delivery.fail(internal_error())
        assert client.body.lstrip(b" ") == internal_error().body()
        assert client.names[-1] == "finish"

    async def test_an_answer_that_comes_while_a_beat_is_written_waits_for_it(
        self, client: Recorder, attempts: Attempts, tasks: TrackedTasks
    ) -> None:
        delivery = self.whole(client, attempts, tasks, SOON)
        free = client.hold("start")
        await client.until(lambda: client.inside == "start")
        completing = spawn(delivery.complete(b"{}"))
        assert await is_stuck(completing)
        free.set()
        await completing
        assert client.names == ["start", "write", "finish"]
        assert client.body == b"{}"
        assert client.cut == []
