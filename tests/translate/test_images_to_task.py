"""Images bought as Flux tasks: conversations as transcripts (see ``transcript.py`` and ``tasks.py``)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.errors import TransportError
from gateway.core.images.task_order import TaskWebhook, task_body
from gateway.core.images.types import ImageFacts, ImagesRequest, MadeImage
from gateway.core.types import Phase, Usage
from gateway.translate.commands import Record, Send, Sleep
from gateway.translate.present_images import ImagesPresenter
from gateway.wire.answer_head import Head

from .tasks import API, ID, KEY, LINK, ORDER, SECOND_LINK, answer, conversation, done, failed, task, tell, whole
from .transcript import play


def test_an_image_from_order_to_delivery() -> None:
    talk = conversation()
    tell(
        talk,
        """
        << send
        >> 200: pending
        << record 1631d053-2352-4add-95cc-360fc52d5f89
        << sleep 2
        << emit aside ping
        << send GET to api.piapi.ai
        >> 200: staged
        << sleep 3
        << emit aside ping
        << send GET to api.piapi.ai
        >> 200: pending
        << sleep 4.5
        << emit aside ping
        << send GET to api.piapi.ai
        >> 200: odd
        << sleep 6.75
        << emit aside ping
        << send GET to api.piapi.ai
        >> 200: processing
        << sleep 10.125
        << emit aside ping
        << send GET to api.piapi.ai
        >> 200: done
        << fetch https://img.theapi.app/temp/one.png
        >> bytes
        << emit bytes
        == ok FORWARDED
        """,
    )
    assert [image.url for image in talk.made_images] == [LINK]
    assert talk.facts == ImageFacts(size="1024x1024")
    assert (talk.task_id, talk.images, talk.size) == (ID, 1, "1024x1024")
    assert talk.stated_cost == 15_000_000
    assert (talk.usage, talk.answer, talk.note) == (None, None, None)


def test_links_are_told_as_openai_tells_them() -> None:
    request = ImagesRequest("generation", "flux-dev", "a bear")
    presenter = ImagesPresenter(request, created=1, format="url", explicit=False)
    talk = conversation(presenter=presenter)
    tell(
        talk,
        f"""
        << send
        >> 200: pending
        << record {ID}
        << sleep 2
        << send GET to api.piapi.ai
        >> 200: done
        == ok FORWARDED
        """,
    )
    body = presenter.conclude(talk.made_images, talk.facts, talk.usage)
    assert body is not None
    assert json.loads(body) == {"created": 1, "data": [{"url": LINK}], "size": "1024x1024"}


def test_what_goes_to_the_upstream() -> None:
    said, _ = play(conversation(), [*whole(task("pending")), *whole(done()), b"an image"])
    create, poll = (command for command in said if isinstance(command, Send))
    assert (create.method, create.path, create.key_header) == ("POST", "/api/v1/task", b"x-api-key")
    assert create.body == task_body(ORDER, 1, None)
    assert json.loads(create.body)["input"] == ORDER.input
    assert (create.endpoint, create.within, create.free) == (None, None, False)
    assert (poll.method, poll.path, poll.body) == ("GET", f"/api/v1/task/{ID}", b"")
    assert (poll.key_header, poll.endpoint, poll.within, poll.free) == (b"x-api-key", API, 30.0, True)


def test_a_webhook_goes_along_and_may_end_the_waits() -> None:
    webhook = TaskWebhook(endpoint="https://gateway.example/hooks/7", secret="a secret", wakeup="task-7")
    talk = conversation(webhook=webhook)
    said, _ = play(talk, [*whole(task("pending")), *whole(task("processing")), *whole(done()), b"an image"])
    assert isinstance(said[0], Send)
    assert said[0].body == task_body(ORDER, 1, webhook)
    assert [command.wakeup for command in said if isinstance(command, Sleep)] == ["task-7", "task-7"]


def test_a_create_that_is_done_at_once_is_recorded_all_the_same() -> None:
    tell(
        conversation(),
        f"""
        << send
        >> 200: done
        << record {ID}
        << fetch {LINK}
        >> bytes
        << emit bytes
        == ok FORWARDED
        """,
    )


@pytest.mark.parametrize(
    "status", ["Completed", "completed", "COMPLETED ", "success", "success\t", "\nSuccess", " completed\r\n"]
)
def test_both_vocabularies_in_any_case_with_stray_white_space(status: str) -> None:
    talk = conversation()
    ended = task(status, output={"image_url": LINK})
    said, outcome = play(talk, [*whole(task("processing\t")), *whole(ended), b"an image"])
    assert outcome.ok
    assert talk.images == 1
    assert sum(isinstance(command, Sleep) for command in said) == 1


@pytest.mark.parametrize("status", ["Failed", "failed\t", " FAILED"])
def test_failure_in_any_spelling(status: str) -> None:
    talk = conversation()
    _, outcome = play(talk, [*whole(task("Pending")), *whole(task(status))])
    assert (outcome.slug, outcome.phase) == ("task_failed", Phase.REJECTED)
    assert outcome.message is None


class TestImages:
    """The places where images have been seen."""

    @pytest.mark.parametrize(
        "output",
        [
            {"image_url": LINK, "image_urls": None, "image_base64": ""},
            {"image_url": "", "image_urls": [LINK]},
            {"images": [{"url": LINK}]},
            {"images": [LINK]},
        ],
    )
    def test_a_link(self, output: dict[str, Any]) -> None:
        talk = conversation()
        _, outcome = play(talk, [*whole(done(**output)), b"an image"])
        assert outcome.ok
        assert [image.url for image in talk.made_images] == [LINK]

    def test_a_batch_is_one_task_with_several(self) -> None:
        talk = conversation(n=2, order=replace(ORDER, batch=4))
        tell(
            talk,
            f"""
            << send
            >> 200: batch
            << record {ID}
            << fetch {LINK}
            >> bytes
            << emit bytes
            << fetch {SECOND_LINK}
            >> others
            << emit others
            == ok FORWARDED
            """,
            {"batch": done(image_url=LINK, image_urls=[LINK, SECOND_LINK])},
        )
        assert talk.images == 2

    def test_bytes_as_base64(self) -> None:
        talk = conversation()
        _, outcome = play(talk, whole(done(image_url="", image_base64="iVBORw0KGgo=")))
        assert outcome.ok
        assert [(image.url, image.b64) for image in talk.made_images] == [(None, "iVBORw0KGgo=")]

    def test_the_legacy_shape(self) -> None:
        legacy = answer(
            {
                "task_id": ID,
                "task_type": "txt2img",
                "status": "success",
                "task_info": {"created_at": "2024-08-16T16:13:21Z", "frozen_credits": 0},
                "task_result": {
                    "used_credits": 20_000,
                    "error_messages": [],
                    "task_output": {"image_base64": "", "image_url": LINK},
                },
            }
        )
        talk = conversation()
        _, outcome = play(talk, [*whole(task("pending")), *whole(legacy), b"an image"])
        assert outcome.ok
        assert talk.made_images == (MadeImage(url=LINK),)

    def test_none_at_all(self) -> None:
        talk = conversation()
        _, outcome = play(talk, whole(done(consume=150_000, image_url="", image_base64="")))
        assert (outcome.slug, outcome.phase) == ("empty_response", Phase.ANSWERED)
        assert (talk.images, talk.stated_cost, talk.made_images) == (0, 15_000_000, ())

    def test_made_but_not_to_be_had(self) -> None:
        talk = conversation()
        tell(
            talk,
            f"""
            << send
            >> 200: done
            << record {ID}
            << fetch {LINK}
            >> (unavailable)
            == asset_unavailable ANSWERED
            """,
        )
        assert (talk.images, talk.stated_cost, talk.made_images) == (1, 15_000_000, ())


class TestCost:
    def test_the_upstreams_own_word_counts_once_the_task_is_done(self) -> None:
        talk = conversation()
        play(talk, [*whole(task("pending", consume=20_000)), *whole(done(consume=200_000)), b"an image"])
        assert talk.stated_cost == 20_000_000

    def test_where_it_says_nothing_the_price_counts(self) -> None:
        talk = conversation()
        play(talk, [*whole(done(consume=0)), b"an image"])
        assert talk.stated_cost is None
        assert talk.images == 1

    def test_a_failed_task_costs_nothing_whatever_it_says(self) -> None:
        talk = conversation()
        play(talk, whole(task("failed", consume=20_000)))
        assert (talk.stated_cost, talk.images) == (None, 0)

    def test_the_estimate_is_what_was_asked_for(self) -> None:
        assert conversation(n=3).estimate() == Usage(images=3, confidence="estimated")


class TestCreating:
    """What comes of a create that does not go well: no task, no record."""

    def refused(self, body: bytes, status: int = 200, *headers: tuple[bytes, bytes]) -> tuple[str, Phase]:
        talk = conversation()
        said, outcome = play(talk, whole(body, status, *headers))
        assert not any(isinstance(command, Record) for command in said)
        assert talk.task_id is None
        assert sum(isinstance(command, Send) for command in said) == 1
        return outcome.slug, outcome.phase

    def test_an_inner_code_in_an_http_200(self) -> None:
        assert self.refused(answer(None, code=400, message="invalid model")) == ("rejected", Phase.REJECTED)

    def test_an_inner_code_beside_a_task_that_says_it_is_fine(self) -> None:
        document = json.loads(task("pending")) | {"code": 429}
        assert self.refused(json.dumps(document).encode()) == ("rate_limited", Phase.REJECTED)

    def test_cloudflare_gives_up_waiting(self) -> None:
        page = b"<!DOCTYPE html><html><title>api.piapi.ai | 524: A timeout occurred</title></html>"
        headers = ((b"server", b"cloudflare"), (b"cf-ray", b"875ab2ff4bf8963f-SJC"), (b"content-type", b"text/html"))
        assert self.refused(page, 524, *headers) == ("cf_524", Phase.UNKNOWN)

    def test_the_key_is_struck_out_of_a_refusal(self) -> None:
        talk = conversation()
        _, outcome = play(talk, whole(answer(None, code=401, message=f"bad key {KEY}"), 401))
        assert outcome.slug == "key_invalid"
        assert KEY not in str(outcome)

    @pytest.mark.parametrize(
        "body",
        [
            answer(None),
            answer([]),
            answer({"status": "pending"}),
            *(task("pending", id=id) for id in ("", "../account/info", "a b", "a?b=c", "a/b", "x" * 129, "ä", "a\n")),
        ],
    )
    def test_no_id_that_could_be_asked_after(self, body: bytes) -> None:
        assert self.refused(body) == ("task_unknown", Phase.UNKNOWN)

    def test_half_an_answer(self) -> None:
        assert self.refused(b'{"code": 200, "data": {"task') == ("bad_json", Phase.UNKNOWN)

    def test_an_answer_without_end(self) -> None:
        talk = conversation()
        flood = [b" " * (16 << 20)] * 5
        _, outcome = play(talk, [Head(200, ((b"content-type", b"application/json"),)), *flood])
        assert (outcome.slug, outcome.phase, talk.task_id) == ("bad_json", Phase.UNKNOWN, None)

    def test_the_connection_breaks(self) -> None:
        with pytest.raises(TransportError):
            tell(
                conversation(),
                """
                << send
                >> (reset)
                """,
            )


class TestFailing:
    def test_after_five_questions(self) -> None:
        talk = conversation()
        pending = whole(task("pending"))
        said, outcome = play(talk, [*pending * 5, *whole(failed("task failed"))])
        assert (outcome.slug, outcome.phase, outcome.status) == ("task_failed", Phase.REJECTED, 200)
        assert outcome.message == "task failed"
        assert outcome.detail == "the task failed"
        assert (talk.task_id, talk.images) == (ID, 0)
        assert sum(isinstance(command, Send) for command in said) == 6

    def test_at_once(self) -> None:
        _, outcome = play(conversation(), whole(failed("create generation task: upload image")))
        assert (outcome.slug, outcome.message) == ("task_failed", "create generation task: upload image")

    @pytest.mark.parametrize(
        "words",
        [
            "Input flagged by moderation",
            "output_moderation",
            "NSFW content detected",
            "violates our content policy",
            "content_policy",
            "the image may be sensitive",
            "图片包含敏感内容",
        ],
    )
    def test_refused_for_what_it_shows(self, words: str) -> None:
        _, outcome = play(conversation(), whole(failed(words)))
        assert (outcome.slug, outcome.phase, outcome.message) == ("content_policy", Phase.REJECTED, words)

    @pytest.mark.parametrize("words", ["Too many requests", "rate limit reached", "rate_limited by origin"])
    def test_limited(self, words: str) -> None:
        _, outcome = play(conversation(), whole(failed(words)))
        assert (outcome.slug, outcome.phase) == ("rate_limited", Phase.REJECTED)

    @pytest.mark.parametrize("words", ["lora names are case-sensitive", "insensitive to prompts", "task timeout"])
    def test_words_that_only_look_like_it(self, words: str) -> None:
        _, outcome = play(conversation(), whole(failed(words)))
        assert outcome.slug == "task_failed"

    def test_its_words_are_made_fit_to_be_shown(self) -> None:
        _, outcome = play(conversation(), whole(failed(f"worker http://10.0.0.7:8080/x refused {KEY}")))
        assert outcome.message is not None
        assert "10.0.0.7" not in outcome.message
        assert KEY not in str(outcome)

    def test_words_in_the_logs_alone(self) -> None:
        _, outcome = play(conversation(), whole(task("failed", logs=["internal server error\nstatus code: 500"])))
        assert (outcome.slug, outcome.message) == ("task_failed", "internal server error status code: 500")


def test_interrupted_between_two_questions_the_books_know_the_task() -> None:
    talk = conversation()
    conversing = talk.converse()
    next(conversing)
    for told in whole(task("pending")):
        command = conversing.send(told)  # type: ignore[arg-type]
    assert isinstance(command, Record)
    assert talk.task_id == ID
    assert isinstance(conversing.send(None), Sleep)
    conversing.close()
    assert (talk.task_id, talk.images, talk.stated_cost, talk.made_images) == (ID, 0, None, ())


def test_a_host_that_dies_in_mid_task_costs_nothing_but_a_question() -> None:
    talk = conversation()
    tell(
        talk,
        f"""
        << send
        >> 200: pending
        << record {ID}
        << sleep 2
        << emit aside ping
        << send GET to api.piapi.ai
        >> (reset)
        << sleep 3
        << emit aside ping
        << send GET to proxy.piapi.ai
        >> 200: processing
        << sleep 4.5
        << emit aside ping
        << send GET to proxy.piapi.ai
        >> 200: done
        << fetch {LINK}
        >> bytes
        << emit bytes
        == ok FORWARDED
        """,
    )
    assert talk.images == 1
