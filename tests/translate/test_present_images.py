"""Images told as OpenAI's Images API tells them, read with the types of its own SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import (
    ImageEditCompletedEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
    ImagesResponse,
)

from gateway.core.errors import LinkForbidden, ResultUnavailable
from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Usage
from gateway.translate.commands import Charge, Command, Emit, Fetch, Keep
from gateway.translate.present_images import LINKED, ImagesPresenter
from gateway.wire.answer_cost import AnswerCost

from .images import BLACK, KEPT_URL, OTHER_URL, URL, WHITE, as_base64, order, source, tell

CREATED = 1_764_000_000
NO_FACTS = ImageFacts()
GONE = ResultUnavailable("it is gone")
FORBIDDEN = LinkForbidden("it leads inside")
STATED = {
    "input_tokens": 10,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 0},
    "output_tokens": 4160,
    "total_tokens": 4170,
}


def presenter(format: Any = "url", explicit: bool = False, **fields: Any) -> ImagesPresenter:
    return ImagesPresenter(order(**fields), created=CREATED, format=format, explicit=explicit)


def events(said: list[Command]) -> list[dict[str, Any]]:
    """The events that were emitted; the name of each must be its type."""
    found = []
    for command in said:
        if isinstance(command, Emit):
            name, _, data = command.data.decode().partition("\ndata: ")
            assert data.endswith("\n\n")
            document = json.loads(data)
            assert name == f"event: {document['type']}"
            assert command.meaningful
            found.append(document)
    return found


def whole(telling: ImagesPresenter, images: Any, facts: ImageFacts = NO_FACTS, usage: Any = None) -> dict[str, Any]:
    body = telling.conclude(images, facts, usage)
    assert body is not None
    ImagesResponse.model_validate_json(body)
    document: dict[str, Any] = json.loads(body)
    return document


def test_a_cost_replaces_an_upstreams_and_needs_no_usage() -> None:
    telling, images = presenter(), [MadeImage(URL)]

    def usage(facts: ImageFacts, usd: str | None) -> Any:
        body = telling.conclude(images, facts, None, AnswerCost(usd))
        assert body is not None
        ImagesResponse.model_validate_json(body, strict=True)
        return json.loads(body).get("usage")

    theirs = ImageFacts(usage={**STATED, "cost": 0.9, "cost_details": {"a": 1}})
    assert usage(theirs, "0.0125") == {**STATED, "cost": 0.0125, "cost_details": {"a": 1}}
    assert usage(theirs, None) == {**STATED, "cost_details": {"a": 1}}
    none = {name: dict.fromkeys(value, 0) if isinstance(value, dict) else 0 for name, value in STATED.items()}
    assert usage(NO_FACTS, "0.0125") == {**none, "cost": 0.0125}
    assert usage(NO_FACTS, None) is None  # a usage that says nothing is not made for its own sake


def test_a_streams_first_image_of_an_answer_tells_the_cost_of_all() -> None:
    facts = ImageFacts(usage={**STATED, "cost": 0.9})
    telling = ImagesPresenter(order(stream=True), created=CREATED, format="url", explicit=True, tells_cost=True)
    said, images = tell(telling.deliver([MadeImage(URL), MadeImage(URL)], facts, 2), "0.0125")
    assert isinstance(said[0], Charge)
    assert [event["usage"].get("cost") for event in events(said)] == [0.0125, None]
    assert len(images) == 2

    said, _ = tell(telling.deliver([MadeImage(URL)], facts, 2), None)
    assert "cost" not in events(said)[0]["usage"]

    silent = ImagesPresenter(order(stream=True), created=CREATED, format="url", explicit=True)
    said, _ = tell(silent.deliver([MadeImage(URL)], facts, 2))
    assert [event["usage"]["cost"] for event in events(said)] == [0.9]
    assert not any(isinstance(command, Charge) for command in said)


class TestWholeAnswers:
    def test_a_link_passes(self) -> None:
        telling = presenter()
        said, images = tell(telling.deliver([MadeImage(URL, revised_prompt="A black cat")], NO_FACTS, 2))
        assert said == []
        assert whole(telling, images) == {
            "created": CREATED,
            "data": [{"url": URL, "revised_prompt": "A black cat"}],
        }

    def test_a_link_that_dies_before_the_answer_is_changed_for_one_of_ours(self) -> None:
        telling = ImagesPresenter(order(), created=CREATED, format="url", explicit=False, links_last=False)
        said, images = tell(telling.deliver([MadeImage(URL, None, "A cat")], NO_FACTS, 1), BLACK, KEPT_URL)
        assert said == [Fetch(URL), Keep(BLACK)]
        assert whole(telling, images)["data"] == [{"url": KEPT_URL, "revised_prompt": "A cat"}]

    @pytest.mark.parametrize("answers", [(ResultUnavailable("gone"),), (BLACK, ResultUnavailable("no room"))])
    def test_it_stays_where_it_cannot_be_fetched_or_kept(self, answers: tuple[bytes | Exception, ...]) -> None:
        telling = ImagesPresenter(order(), created=CREATED, format="url", explicit=False, links_last=False)
        _, images = tell(telling.deliver([MadeImage(URL)], NO_FACTS, 1), *answers)
        assert whole(telling, images)["data"] == [{"url": URL}]

    def test_bytes_are_kept_where_a_link_is_wanted(self) -> None:
        telling = presenter()
        said, images = tell(telling.deliver([MadeImage(None, as_base64(BLACK), "A cat")], NO_FACTS, 2), KEPT_URL)
        assert said == [Keep(BLACK)]
        assert whole(telling, images)["data"] == [{"url": KEPT_URL, "revised_prompt": "A cat"}]

    def test_bytes_pass(self) -> None:
        telling = presenter("b64_json")
        said, images = tell(telling.deliver([MadeImage(URL, as_base64(BLACK))], NO_FACTS, 2))
        assert said == []
        assert whole(telling, images)["data"] == [{"b64_json": as_base64(BLACK)}]

    def test_a_link_is_followed_where_bytes_are_wanted(self) -> None:
        telling = presenter("b64_json", explicit=True)
        said, images = tell(telling.deliver([MadeImage(URL, revised_prompt="A cat")], NO_FACTS, 2), BLACK)
        assert said == [Fetch(URL)]
        assert whole(telling, images)["data"] == [{"b64_json": as_base64(BLACK), "revised_prompt": "A cat"}]

    @pytest.mark.parametrize("explicit", [True, False])
    def test_one_that_cannot_be_fetched_is_given_as_its_link(self, explicit: bool) -> None:
        """Whoever chose the form, the client or the model's custom: it is bought."""
        telling = presenter("b64_json", explicit)
        made = [MadeImage(URL, revised_prompt="A cat"), MadeImage(OTHER_URL)]
        said, images = tell(telling.deliver(made, NO_FACTS, 2), GONE, WHITE)
        assert said == [Fetch(URL), Fetch(OTHER_URL)]
        assert whole(telling, images)["data"] == [
            {"url": URL, "revised_prompt": "A cat"},
            {"b64_json": as_base64(WHITE)},
        ]
        assert telling.notes == [LINKED]

    def test_the_note_is_one_however_many_links_there_are(self) -> None:
        telling = presenter("b64_json")
        tell(telling.deliver([MadeImage(URL), MadeImage(OTHER_URL)], NO_FACTS, 2), GONE, GONE)
        assert telling.notes == [LINKED]

    def test_bytes_and_links_that_were_asked_for_need_no_note(self) -> None:
        for telling, told in ((presenter("b64_json"), (BLACK,)), (presenter("url"), ())):
            tell(telling.deliver([MadeImage(URL)], NO_FACTS, 1), *told)
            assert list(telling.notes) == []

    @pytest.mark.parametrize("explicit", [True, False])
    def test_a_link_that_is_forbidden_is_not_handed_on(self, explicit: bool) -> None:
        telling = presenter("b64_json", explicit)
        with pytest.raises(LinkForbidden):
            tell(telling.deliver([MadeImage(URL)], NO_FACTS, 2), FORBIDDEN)
        _, images = tell(telling.deliver([MadeImage(URL), MadeImage(OTHER_URL)], NO_FACTS, 2), FORBIDDEN, WHITE)
        assert images == (MadeImage(OTHER_URL, as_base64(WHITE)),)
        assert telling.notes == []

    def test_bytes_that_cannot_be_read_are_not_kept(self) -> None:
        with pytest.raises(ResultUnavailable, match="cannot be read"):
            tell(presenter().deliver([MadeImage(None, "no base64!")], NO_FACTS, 2))

    def test_no_images_are_no_trouble(self) -> None:
        assert tell(presenter().deliver([], NO_FACTS, 2)) == ([], ())

    def test_all_that_is_known_is_told(self) -> None:
        facts = ImageFacts("1024x1024", "high", "opaque", "png", STATED)
        document = whole(presenter(), [MadeImage(URL)], facts)
        assert {**document, "data": None} == {
            "created": CREATED,
            "data": None,
            "size": "1024x1024",
            "quality": "high",
            "background": "opaque",
            "output_format": "png",
            "usage": STATED,
        }

    def test_usage_of_the_upstream_is_told_in_its_own_words(self) -> None:
        facts = ImageFacts(usage={**STATED, "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0}})
        usage = Usage(10, 0, 4160, images=1, image_output_tokens=4160)
        assert whole(presenter(), [MadeImage(URL)], facts, usage)["usage"] == facts.usage

    def test_usage_of_several_conversations_is_told_together(self) -> None:
        usage = Usage(30, 0, 8320, images=2, image_input_tokens=12, image_output_tokens=8320)
        for facts in (ImageFacts(usage=STATED), NO_FACTS):
            assert whole(presenter(), [MadeImage(URL)], facts, usage)["usage"] == {
                "input_tokens": 30,
                "input_tokens_details": {"text_tokens": 18, "image_tokens": 12},
                "output_tokens": 8320,
                "total_tokens": 8350,
            }

    def test_an_estimate_is_not_told(self) -> None:
        for usage in (Usage(30, 0, 8320, confidence="estimated"), Usage(images=1), None):
            assert "usage" not in whole(presenter(), [MadeImage(URL)], NO_FACTS, usage)

    def test_previews_and_progress_are_for_streams(self) -> None:
        telling = presenter()
        assert tell(telling.progress("7%")) == ([], None)
        assert tell(telling.partial(as_base64(BLACK), 0, NO_FACTS)) == ([], None)


class TestStreams:
    def test_an_image_is_an_event_with_everything_the_sdk_requires(self) -> None:
        telling = presenter("b64_json", stream=True)
        image = MadeImage(None, as_base64(BLACK), "A black cat")
        said, images = tell(telling.deliver([image], NO_FACTS, 2))
        (document,) = events(said)
        event = ImageGenCompletedEvent.model_validate(document)
        assert (event.type, event.b64_json) == ("image_generation.completed", as_base64(BLACK))
        assert (event.size, event.quality, event.background, event.output_format) == ("auto", "auto", "auto", "png")
        assert (event.created_at, event.usage.total_tokens) == (CREATED, 0)
        assert document["revised_prompt"] == "A black cat"
        assert "url" not in document
        assert images == (MadeImage(None, None, "A black cat"),)  # sent, and not kept any longer
        assert telling.conclude(images, NO_FACTS, None) is None

    @pytest.mark.parametrize("kind", ["edit", "variation"])
    def test_edits_and_variations_have_a_name_of_their_own(self, kind: Any) -> None:
        telling = presenter("b64_json", kind=kind, images=(source(),), stream=True)
        facts = ImageFacts("1536x1024", "low", "transparent", "webp", STATED)
        said, _ = tell(telling.deliver([MadeImage(None, as_base64(BLACK))], facts, 2))
        event = ImageEditCompletedEvent.model_validate(events(said)[0])
        assert (event.size, event.quality, event.background, event.output_format) == (
            "1536x1024",
            "low",
            "transparent",
            "webp",
        )
        assert event.usage.model_dump() == STATED

    def test_what_an_answer_has_beside_its_image_goes_with_the_event(self) -> None:
        facts = ImageFacts(others={"svg_usage": {"total_tokens": 3}})
        said, _ = tell(presenter(stream=True).deliver([MadeImage(b64=as_base64(BLACK))], facts, 1))
        [event] = events(said)
        assert (event["svg_usage"], event["type"]) == ({"total_tokens": 3}, "image_generation.completed")

    def test_words_the_sdk_does_not_know_are_not_told(self) -> None:
        facts = ImageFacts("auto", "standard", "auto", "gif")
        said, _ = tell(presenter(stream=True).deliver([MadeImage(None, as_base64(BLACK))], facts, 2))
        event = ImageGenCompletedEvent.model_validate(events(said)[0])
        assert (event.quality, event.background, event.output_format) == ("auto", "auto", "png")

    @pytest.mark.parametrize(
        ("data", "name"),
        [
            (b"\xff\xd8\xff\xe0 and the rest of it", "jpeg"),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 and the rest", "webp"),
            (b"GIF89a and the rest of the image", "png"),
        ],
    )
    def test_the_format_is_told_by_the_bytes(self, data: bytes, name: str) -> None:
        said, _ = tell(presenter(stream=True).deliver([MadeImage(None, as_base64(data))], NO_FACTS, 2))
        assert events(said)[0]["output_format"] == name

    @pytest.mark.parametrize("bytes_", [b"<html><script>alert(1)</script>", b"<svg onload=alert(1)>", b"alert(1)//"])
    def test_a_preview_that_is_no_picture_is_left_out(self, bytes_: bytes) -> None:
        assert tell(presenter(stream=True).partial("?", 0, NO_FACTS)) == ([], None)
        assert tell(presenter(stream=True).partial(as_base64(bytes_), 0, NO_FACTS)) == ([], None)

    def test_a_link_is_followed_and_stands_beside(self) -> None:
        """Also for models whose whole answers are links: the SDK's events need the bytes."""
        said, images = tell(presenter("url", stream=True).deliver([MadeImage(URL)], NO_FACTS, 2), BLACK)
        assert said[0] == Fetch(URL)
        (document,) = events(said)
        assert (document["b64_json"], document["url"]) == (as_base64(BLACK), URL)
        assert images == (MadeImage(URL),)

    def test_what_was_bought_is_not_lost_with_the_bytes(self) -> None:
        said, images = tell(presenter("url", stream=True).deliver([MadeImage(URL)], NO_FACTS, 2), GONE)
        (document,) = events(said)
        assert (document["b64_json"], document["url"]) == (None, URL)
        assert images == (MadeImage(URL),)

    def test_also_where_the_client_insists_on_bytes(self) -> None:
        telling = presenter("b64_json", explicit=True, stream=True)
        said, images = tell(telling.deliver([MadeImage(URL)], NO_FACTS, 2), GONE)
        (document,) = events(said)
        assert (document["b64_json"], document["url"]) == (None, URL)
        assert (images, telling.notes) == ((MadeImage(URL),), [LINKED])

    @pytest.mark.parametrize("format", ["url", "b64_json"])
    def test_a_link_that_is_forbidden_is_only_for_whom_a_whole_answer_would_give_links(self, format: str) -> None:
        telling = presenter(format, stream=True)
        if format == "url":
            said, _ = tell(telling.deliver([MadeImage(URL)], NO_FACTS, 2), FORBIDDEN)
            assert events(said)[0]["url"] == URL
        else:
            with pytest.raises(LinkForbidden):
                tell(telling.deliver([MadeImage(URL)], NO_FACTS, 2), FORBIDDEN)

    def test_a_client_that_insists_on_links_gets_links(self) -> None:
        telling = presenter("url", explicit=True, stream=True)
        made = [MadeImage(URL), MadeImage(None, as_base64(WHITE))]
        said, _ = tell(telling.deliver(made, NO_FACTS, 2), KEPT_URL)
        assert [(each["b64_json"], each["url"]) for each in events(said)] == [(None, URL), (None, KEPT_URL)]

    def test_every_image_goes_out_as_soon_as_it_is_there(self) -> None:
        said, _ = tell(
            presenter(stream=True).deliver([MadeImage(URL), MadeImage(OTHER_URL)], NO_FACTS, 2), BLACK, WHITE
        )
        assert [type(command).__name__ for command in said] == ["Fetch", "Emit", "Fetch", "Emit"]

    def test_a_preview(self) -> None:
        facts = ImageFacts("1024x1024", "low", "opaque", "png")
        said, _ = tell(presenter(stream=True).partial(as_base64(BLACK), 2, facts))
        event = ImageGenPartialImageEvent.model_validate(events(said)[0])
        assert (event.type, event.b64_json, event.partial_image_index) == (
            "image_generation.partial_image",
            as_base64(BLACK),
            2,
        )
        assert (event.size, event.quality) == ("1024x1024", "low")

    def test_progress_is_a_comment_of_one_line(self) -> None:
        said, _ = tell(presenter(stream=True).progress("7 %\r\n\r\ndata: no event"))
        assert said == [Emit(b": progress 7 % data: no event\n\n", meaningful=False, optional=True)]
        (long,), _ = tell(presenter(stream=True).progress("x" * 10_000))
        assert isinstance(long, Emit)
        assert len(long.data) < 300
