"""Upstreams that bring more than was asked for: what is charged, fetched and kept in memory has bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.core.errors import ResultUnavailable
from gateway.core.images.types import MOST_IMAGES, MOST_READ, ImageFacts, MadeImage
from gateway.translate import image_stream as image_stream
from gateway.translate import present_images
from gateway.translate.commands import Command, Emit, Fetch, Keep
from gateway.translate.present_chat import ChatPresenter
from gateway.translate.present_images import ImagesPresenter
from gateway.wire.answer_head import Head

from . import image_chat, image_relay, tasks
from .chat import KEY
from .images import BLACK, OTHER_URL, URL, WHITE, as_base64, order, tell
from .transcript import Told, play

LINKS = [f"https://img.theapi.app/temp/{number}.png" for number in range(1000)]
NO_FACTS = ImageFacts()
STREAM = Head(200, ((b"content-type", b"text/event-stream"),))
WHOLE = Head(200, ((b"content-type", b"application/json"),))


def presenter(format: Any = "b64_json", explicit: bool = True, **fields: Any) -> ImagesPresenter:
    return ImagesPresenter(order(**fields), created=1, format=format, explicit=explicit)


def fetched(said: list[Command]) -> list[str]:
    return [command.url for command in said if isinstance(command, Fetch)]


class TestCharges:
    """What is charged for is what was asked for, however much came. All that came goes to the client."""

    def test_a_task_with_a_thousand_images(self) -> None:
        talk = tasks.conversation(n=2, order=replace(tasks.ORDER, batch=4), presenter=presenter("url"))
        _, outcome = play(talk, tasks.whole(tasks.done(image_urls=LINKS)))
        assert outcome.ok
        assert talk.images == talk.delivered == 2
        assert [image.url for image in talk.made_images] == LINKS[:MOST_READ]

    def test_an_images_api_with_a_thousand_images(self) -> None:
        talk = image_relay.conversation(n=2, presenter=presenter("url"))
        document = image_relay.document(*({"url": link} for link in LINKS), usage=image_relay.USAGE)
        _, outcome = play(talk, [WHOLE, document, b""])
        assert outcome.ok
        assert talk.images == talk.delivered == 2
        assert talk.usage is not None
        assert talk.usage.images == 2
        assert len(talk.made_images) == MOST_READ

    def test_a_chat_with_a_thousand_images_is_one_answer(self) -> None:
        talk = image_chat.conversation(presenter=presenter("url"))
        text = image_chat.text("\n".join(f"![x]({link})" for link in LINKS))
        _, outcome = play(talk, [STREAM, text, b""])
        assert outcome.ok
        assert talk.images == len(talk.made_images) == MOST_READ

    def test_a_task_that_names_a_cost_out_of_all_proportion(self) -> None:
        talk = tasks.conversation()
        _, outcome = play(talk, [*tasks.whole(tasks.done(consume=1_000_000_000)), b"an image"])
        assert outcome.ok
        assert (talk.images, talk.stated_cost) == (1, None)

    def test_a_task_that_is_done_without_an_image_has_its_cost_all_the_same(self) -> None:
        talk = tasks.conversation()
        _, outcome = play(talk, tasks.whole(tasks.done(consume=200_000, image_url="")))
        assert (outcome.slug, talk.images, talk.stated_cost) == ("empty_response", 0, 20_000_000)


class TestFetching:
    @pytest.mark.parametrize("asked", [1, 2, MOST_IMAGES])
    def test_twice_as_many_as_were_asked_for_and_links_beyond(self, asked: int) -> None:
        made = [MadeImage(link) for link in LINKS[:30]]
        said, images = tell(presenter().deliver(made, NO_FACTS, asked), *[BLACK] * (2 * asked))
        assert fetched(said) == LINKS[: 2 * asked]
        assert [image.b64 for image in images] == [as_base64(BLACK)] * (2 * asked) + [None] * (30 - 2 * asked)
        assert [image.url for image in images] == LINKS[:30]

    @pytest.mark.parametrize("at_once", [1, 2, 3])
    def test_twice_as_many_also_where_they_come_one_by_one(self, at_once: int) -> None:
        """What has come is asked for no more, so that an answer without end is not fetched without end."""
        telling, n, made, count = presenter(n=3), 3, 0, 0
        while made < 30:
            some = [MadeImage(link) for link in LINKS[made : made + at_once]]
            said, _ = tell(telling.deliver(some, NO_FACTS, max(0, n - made)), *[BLACK] * at_once)
            made += at_once
            count += len(fetched(said))
        assert n <= count <= 2 * n

    def test_beyond_it_a_stream_tells_links(self) -> None:
        made = [MadeImage(link) for link in LINKS[:12]]
        told = presenter("url", explicit=False, stream=True).deliver(made, NO_FACTS, 1)
        said, images = tell(told, *[BLACK] * 2)
        assert fetched(said) == LINKS[:2]
        assert [image.url for image in images] == LINKS[:12]
        assert sum(isinstance(command, Emit) for command in said) == 12

    def test_links_and_bytes_at_hand_are_never_left_out(self) -> None:
        made = [MadeImage(URL), MadeImage(None, as_base64(BLACK))]
        assert len(tell(presenter("url").deliver(made, NO_FACTS, 1), URL)[1]) == 2
        assert len(tell(presenter().deliver(made[1:] * 3, NO_FACTS, 1))[1]) == 3
        chat = ChatPresenter(id="c", created=1, model="m", stream=False, include_usage=False)
        said, images = tell(chat.deliver(made, NO_FACTS, 1), URL)
        assert (said, len(images)) == ([Keep(BLACK)], 2)

    def test_every_subrequest_of_an_order_has_its_own(self) -> None:
        shared = presenter(n=2)
        for link in LINKS[:2]:
            said, images = tell(shared.deliver([MadeImage(link), MadeImage(URL)], NO_FACTS, 1), BLACK, WHITE)
            assert (fetched(said), len(images)) == ([link, URL], 2)


class TestMemory:
    """A request's images have a budget of bytes, whichever subrequests they come from."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(present_images, "MOST_IMAGE_BYTES", len(BLACK) + 10)

    def test_a_second_subrequest_finds_it_used_up(self) -> None:
        shared = presenter(n=3)
        assert len(tell(shared.deliver([MadeImage(URL)], NO_FACTS, 1), BLACK)[1]) == 1
        assert tell(shared.deliver([MadeImage(OTHER_URL)], NO_FACTS, 1), WHITE)[1] == (MadeImage(OTHER_URL),)
        with pytest.raises(ResultUnavailable, match="more than"):
            tell(shared.deliver([MadeImage(None, as_base64(WHITE))], NO_FACTS, 1))

    def test_what_fits_is_delivered(self) -> None:
        made = [MadeImage(None, as_base64(BLACK)), MadeImage(None, as_base64(WHITE)), MadeImage(OTHER_URL)]
        said, images = tell(presenter(n=3).deliver(made, NO_FACTS, 3), WHITE)
        assert [image.b64 for image in images] == [as_base64(BLACK), None]
        assert images[1].url == OTHER_URL
        assert fetched(said) == [OTHER_URL]

    def test_nothing_is_fetched_once_it_is_used_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(present_images, "MOST_IMAGE_BYTES", len(BLACK))
        shared = presenter(n=3)
        tell(shared.deliver([MadeImage(URL)], NO_FACTS, 1), BLACK)
        said, images = tell(shared.deliver([MadeImage(OTHER_URL)], NO_FACTS, 1))
        assert (said, images) == ([], (MadeImage(OTHER_URL),))

    def test_a_stream_keeps_nothing_that_it_has_sent(self) -> None:
        made = [MadeImage(URL, as_base64(BLACK)), MadeImage(None, as_base64(WHITE))]
        said, images = tell(presenter(stream=True).deliver(made, NO_FACTS, 2))
        assert sum(isinstance(command, Emit) for command in said) == 2
        assert images == (MadeImage(URL), MadeImage())


class TestReading:
    """Nothing that takes long is done to what is big."""

    def small(self, data: bytes) -> bytes:
        assert len(data) <= 1 << 16
        return data.replace(KEY.encode(), b"[redacted]")

    def test_an_error_of_many_megabytes_in_a_stream(self) -> None:
        talk = image_relay.conversation()
        talk._redact = self.small  # as handed to the constructor
        event = b'data: {"error":{"message":"' + KEY.encode() + b"x" * (4 << 20) + b'"}}\n\n'
        _, outcome = play(talk, [STREAM, event])
        assert outcome.slug == "sse_error_first"
        assert outcome.message is not None
        assert outcome.message.startswith("[redacted]xxx")

    def test_an_error_of_many_megabytes_in_a_chat(self) -> None:
        talk = image_chat.conversation()
        talk._redact = self.small
        _, outcome = play(talk, [STREAM, b'data: {"error":"' + b"x" * (4 << 20) + b'"}\n\n'])
        assert outcome.slug == "sse_error_first"

    @pytest.mark.parametrize("content_type", [b"text/plain", b"application/json", b"text/html"])
    def test_a_text_of_many_megabytes(self, content_type: bytes) -> None:
        talk = image_relay.conversation()
        talk._redact = self.small
        _, outcome = play(talk, [Head(200, ((b"content-type", content_type),)), b"x," * (4 << 20), b""])
        assert outcome.slug == ("bad_json" if content_type == b"application/json" else "bad_content_type")

    def test_a_whole_answer_that_is_bigger_than_any(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_stream, "WHOLE_LIMIT", 100)
        _, outcome = play(image_relay.conversation(), [WHOLE, image_relay.PIECES["whole"]])
        assert (outcome.slug, outcome.detail) == ("bad_json", "no answer about images: it is bigger than 100 bytes")

    @pytest.mark.parametrize("stream", [True, False])
    def test_an_answer_of_two_million_members(self, stream: bool) -> None:
        document = orjson.dumps({"data": [0] * 2_000_000})
        told: list[Told] = [STREAM, b"data: " + document + b"\n\n"] if stream else [WHOLE, document, b""]
        _, outcome = play(image_relay.conversation(), told)
        assert outcome.slug == ("sse_bad_event" if stream else "bad_json")
        assert "too many members" in outcome.detail

    def test_a_task_of_a_million_members(self) -> None:
        body = orjson.dumps(
            {"code": 200, "data": {"task_id": tasks.ID, "status": "completed", "output": [0] * 1_000_000}}
        )
        _, outcome = play(tasks.conversation(), tasks.whole(body))
        assert (outcome.slug, outcome.detail) == ("bad_json", "an answer of too many members")

    @pytest.mark.parametrize("whole", [True, False])
    def test_a_chat_that_talks_without_end(self, whole: bool) -> None:
        words = "id\n" * 100_000
        told: list[Told] = [WHOLE, image_chat.completion(words), b""] if whole else [STREAM, image_chat.text(words)]
        talk = image_chat.conversation()
        _, outcome = play(talk, told)
        assert (outcome.slug, talk.images) == ("sse_event_too_big", 0)

    def test_an_image_that_came_before_it_is_delivered(self) -> None:
        talk = image_chat.conversation(presenter=presenter("url"))
        _, outcome = play(talk, [STREAM, image_chat.text(f"![x]({URL})\n"), image_chat.text("id\n" * 100_000)])
        assert (outcome.slug, talk.images) == ("ok", 1)
