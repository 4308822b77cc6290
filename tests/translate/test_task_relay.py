"""PiAPI's own task API on either side: conversations as transcripts (see ``transcript.py`` and ``tasks.py``)."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import TransportError
from gateway.core.types import Phase, Usage
from gateway.translate.commands import Awaiting, Record, Respond, Send, Stalled
from gateway.translate.task_relay import TaskRead, TaskRelay
from gateway.wire.answer_head import Head

from .tasks import (
    CONTEXT,
    ID,
    KEY,
    LINK,
    PIECES,
    POINTS_PER_USD,
    SECOND_LINK,
    answer,
    done,
    failed,
    shown,
    task,
    tell,
    whole,
)
from .transcript import play

BODY = b'{"model":"Qubico/flux1-dev","task_type":"txt2img","input":{"prompt":"a bear"}}'


def relay(images: int = 1) -> TaskRelay:
    return TaskRelay(
        BODY,
        CONTEXT,
        images=images,
        points_per_usd=POINTS_PER_USD,
        jitter=lambda: 0.5,
    )


def read(task_id: str = ID) -> TaskRead:
    return TaskRead(task_id, CONTEXT)


class TestCreating:
    def test_the_client_is_answered_first_and_the_task_followed_to_its_end(self) -> None:
        talk = relay()
        tell(
            talk,
            f"""
            << send
            >> 200: pending
            << record {ID}
            << respond 200 pending-shown
            << sleep 2
            << send GET to api.piapi.ai
            >> (reset)
            << sleep 3
            << send GET to proxy.piapi.ai
            >> 200: processing
            << sleep 4.5
            << send GET to proxy.piapi.ai
            >> 200: done
            == ok FORWARDED
            """,
        )
        assert (talk.task_id, talk.images, talk.stated_cost) == (ID, 1, 15_000_000)
        assert (talk.answer, talk.usage, talk.note) == (None, None, None)

    def test_the_body_goes_up_as_it_is(self) -> None:
        create = next(relay().converse())
        assert isinstance(create, Send)
        assert (create.method, create.path, create.body) == ("POST", "/api/v1/task", BODY)
        assert (create.key_header, create.free) == (b"x-api-key", False)

    def test_a_task_that_is_done_at_once(self) -> None:
        talk = relay()
        tell(
            talk,
            f"""
            << send
            >> 200: done
            << record {ID}
            << respond 200 done-shown
            == ok FORWARDED
            """,
        )
        assert talk.stated_cost == 15_000_000

    def test_every_image_counts(self) -> None:
        talk = relay(images=2)
        play(talk, whole(done(image_urls=[LINK, SECOND_LINK])))
        assert talk.images == 2
        assert talk.estimate() == Usage(images=2, confidence="estimated")

    def test_a_result_that_is_no_image(self) -> None:
        talk = relay(images=0)
        _, outcome = play(talk, whole(done(consume=2_600_000, video_url="https://img.theapi.app/a.mp4")))
        assert outcome.ok
        assert (talk.images, talk.stated_cost) == (0, 260_000_000)
        assert talk.estimate() == Usage(images=0, confidence="estimated")

    def test_without_a_cost_of_its_own(self) -> None:
        talk = relay()
        _, outcome = play(talk, whole(done(consume=0)))
        assert outcome.ok
        assert talk.stated_cost is None

    def test_a_task_that_fails_after_its_client_was_answered(self) -> None:
        talk = relay()
        said, outcome = play(talk, [*whole(task("pending")), *whole(failed(f"too many requests {KEY}"))])
        assert (outcome.slug, outcome.phase) == ("task_failed", Phase.REJECTED)
        assert outcome.message == "too many requests [redacted]"
        assert outcome.detail == "the task failed"
        assert (talk.task_id, talk.images, talk.stated_cost) == (ID, 0, None)
        assert sum(isinstance(command, Respond) for command in said) == 1

    def test_a_task_that_fails_without_a_word(self) -> None:
        _, outcome = play(relay(), whole(task("failed")))
        assert (outcome.message, outcome.detail) == (None, "the task failed")

    @pytest.mark.parametrize(
        ("body", "status", "slug", "phase"),
        [
            (PIECES["refused"], 200, "rejected", Phase.REJECTED),
            (PIECES["limited"], 429, "rate_limited", Phase.REJECTED),
            (PIECES["broken"], 500, "upstream_5xx", Phase.UNKNOWN),
            (answer({"status": "pending"}), 200, "task_unknown", Phase.UNKNOWN),
            (task("pending", id="../../account/info"), 200, "task_unknown", Phase.UNKNOWN),
        ],
    )
    def test_no_task_no_answer(self, body: bytes, status: int, slug: str, phase: Phase) -> None:
        talk = relay()
        said, outcome = play(talk, whole(body, status))
        assert (outcome.slug, outcome.phase, talk.task_id) == (slug, phase, None)
        assert not any(isinstance(command, Record | Respond) for command in said)

    def test_interrupted_after_its_client_was_answered_the_books_know_the_task(self) -> None:
        talk = relay()
        conversing = talk.converse()
        next(conversing)
        for told in whole(task("pending")):
            conversing.send(told)  # type: ignore[arg-type]
        assert isinstance(conversing.send(None), Respond)
        conversing.close()
        assert (talk.task_id, talk.images, talk.stated_cost) == (ID, 0, None)


class TestReading:
    def test_one_free_question(self) -> None:
        talk = read()
        said, outcome = play(talk, whole(done()))
        ask = said[0]
        assert isinstance(ask, Send)
        assert (ask.method, ask.path, ask.key_header) == ("GET", f"/api/v1/task/{ID}", b"x-api-key")
        assert (ask.endpoint, ask.within, ask.free) == (None, 30.0, True)
        assert said[-1] == Respond(200, shown(done()))
        assert outcome.ok
        assert (talk.task_id, talk.images, talk.stated_cost) == (ID, 0, None)
        assert talk.estimate() == Usage()

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (PIECES["pending-shown"], 200),
            (shown(PIECES["failed"]), 200),
            (PIECES["missing"], 404),
            (PIECES["missing"], 200),
            (PIECES["refused"], 400),
            (answer(None, code=10000, message="task failed"), 200),
            (b'{"timestamp": 1, "data": {"status": "what they say tomorrow"}}', 200),
        ],
    )
    def test_what_is_said_of_the_task_passes_unchanged(self, body: bytes, status: int) -> None:
        said, outcome = play(read(), whole(body, status))
        assert said[-1] == Respond(status, body)
        assert (outcome.slug, outcome.status) == ("ok", status)

    @pytest.mark.parametrize(
        "body",
        [
            answer(None, code=404, message=f"no task of {KEY}"),
            json.dumps({"code": 404, "message": "no task", "data": {"webhook_config": {"secret": "ours"}}}).encode(),
            json.dumps({"code": 404, "message": "no", "data": [{"webhook_config": "ours"}]}).encode(),
            b'{"code": 404, "message": "no", "data": {"webhook\\u005fconfig": "ours"}}',
            f'{{"code": 404, "message": "\\u{ord(KEY[0]):04x}{KEY[1:]}"}}'.encode(),
        ],
    )
    def test_what_is_ours_is_not_passed_on(self, body: bytes) -> None:
        """Also where the upstream spells it with escapes."""
        said, outcome = play(read(), whole(body, 404))
        assert outcome.ok
        assert isinstance(said[-1], Respond)
        document = json.loads(said[-1].body)
        assert document["code"] == 404
        assert not any(word in str(document) for word in (KEY, KEY[1:], "webhook_config", "ours"))

    def test_a_big_result_is_searched_for_secrets_as_well(self) -> None:
        big = done(image_base64="iVBORw0KGgo=" * 400_000, note=f"by {KEY}")
        said, _ = play(read(), whole(big))
        assert isinstance(said[-1], Respond)
        told = json.loads(said[-1].body)["data"]["output"]
        assert told == {"image_base64": "iVBORw0KGgo=" * 400_000, "note": "by [redacted]"}

    @pytest.mark.parametrize("status", [200, 400])
    @pytest.mark.parametrize(
        "body", [b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", b'{"a":[' + b"0," * 400_000 + b"0]}"], ids=["deep", "many"]
    )
    def test_what_nobody_could_write_again_is_not_passed_on(self, body: bytes, status: int) -> None:
        said, outcome = play(read(), whole(body, status))
        assert outcome.slug == ("bad_json" if status == 200 else "rejected")
        assert not any(isinstance(command, Respond) for command in said)

    @pytest.mark.parametrize(
        ("body", "status", "slug"),
        [
            (PIECES["broken"], 500, "upstream_5xx"),
            (PIECES["broken"], 200, "upstream_5xx"),
            (PIECES["limited"], 429, "rate_limited"),
            (answer(None, code=401, message="no"), 200, "key_invalid"),
            (answer(None, code=401, message="no"), 401, "key_invalid"),
            (PIECES["page"], 200, "bad_content_type"),
            (b"not found", 404, "bad_content_type"),
            (b"bad request", 400, "rejected"),
            (b"[]", 400, "rejected"),
            (PIECES["nonsense"], 200, "bad_json"),
            (b"", 200, "empty_response"),
            (b"{}", 302, "redirect"),
        ],
    )
    def test_what_is_not_about_the_task_is_for_the_exchange(self, body: bytes, status: int, slug: str) -> None:
        said, outcome = play(read(), whole(body, status))
        assert outcome.slug == slug
        assert not any(isinstance(command, Respond) for command in said)

    @pytest.mark.parametrize(
        "trouble", [TransportError("connect_refused", Phase.UNSENT, "nobody there"), Stalled(Awaiting.HEAD, 30)]
    )
    def test_a_host_that_is_down_is_for_the_exchange(self, trouble: Exception) -> None:
        with pytest.raises(type(trouble)):
            play(read(), [trouble])

    def test_secrets_are_struck_out_of_what_is_not_passed_on(self) -> None:
        _, outcome = play(read(), whole(answer(None, code=401, message=f"bad key {KEY}"), 401))
        assert outcome.message is not None
        assert KEY not in json.dumps(outcome.message + outcome.detail)

    def test_too_long_an_answer_is_no_answer(self) -> None:
        flood = [b'{"a": "'] + [b"x" * (32 << 20)] * 2
        said, outcome = play(read(), [Head(200, ((b"content-type", b"application/json"),)), *flood])
        assert outcome.slug == "bad_json"
        assert not any(isinstance(command, Respond) for command in said)

    @pytest.mark.parametrize("task_id", ["", "../info", "a b", "x" * 129])
    def test_what_cannot_be_an_id_is_never_put_in_a_path(self, task_id: str) -> None:
        with pytest.raises(ValueError, match="a task id has"):
            read(task_id)
