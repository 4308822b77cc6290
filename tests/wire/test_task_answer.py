"""Answers about tasks, in every shape PiAPI has used, and in shapes that nobody should."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.images.types import MOST_READ, MadeImage
from gateway.wire.task_answer import TaskState, is_task, parse_task

CREATED = {
    "code": 200,
    "data": {
        "task_id": "1631d053-2352-4add-95cc-360fc52d5f89",
        "model": "Qubico/flux1-schnell",
        "task_type": "img2img",
        "status": "pending",
        "config": {"webhook_config": {"endpoint": "https://webhook.site/xxxx", "secret": ""}},
        "input": {"prompt": "a bear", "image": "https://i.ibb.co/J7ZNgSG/01.jpg", "width": 0, "height": 0, "steps": 0},
        "output": None,
        "meta": {
            "started_at": "0001-01-01T00:00:00Z",
            "usage": {"type": "quota", "frozen": 0, "consume": 20000},
            "is_using_private_pool": False,
        },
        "detail": None,
        "logs": [],
        "error": {"code": 0, "raw_message": "", "message": "", "detail": None},
    },
    "message": "success",
}
KONTEXT_LINK = "https://img.theapi.app/temp/10f0a646-6155-4938-bf50-76934c953e9c.png"
KONTEXT = {
    "code": 200,
    "data": {
        "task_id": "8718d5c1-aae9-4cd5-a243-84eeb1e01117",
        "status": "completed",
        "output": {"image_base64": "", "image_url": KONTEXT_LINK},
        "meta": {"usage": {"type": "llm", "frozen": 0, "consume": 200000}},
        "detail": None,
        "logs": [],
        "error": {"code": 0, "raw_message": "", "message": "", "detail": None},
    },
    "message": "success",
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
A, B = "https://img.example/a.png", "https://img.example/b.png"


def answer(status: Any = "completed", **members: Any) -> dict[str, Any]:
    return {"code": 200, "data": {"task_id": "t-1", "status": status, **members}, "message": "success"}


def images(output: Any, **members: Any) -> list[tuple[str | None, str | None]]:
    state = parse_task(answer(output=output, **members))
    assert state.status == "done"
    return [(image.url, image.b64) for image in state.images]


class TestPiapisExamples:
    def test_a_task_that_was_made(self):
        assert parse_task(CREATED) == TaskState("1631d053-2352-4add-95cc-360fc52d5f89", "running", points=20000)

    def test_a_task_that_is_done(self):
        assert parse_task(KONTEXT) == TaskState(
            "8718d5c1-aae9-4cd5-a243-84eeb1e01117", "done", (MadeImage(url=KONTEXT_LINK),), 200000
        )

    def test_a_webhook_has_no_code(self):
        assert parse_task({"timestamp": 1734949480, "data": KONTEXT["data"]}) == parse_task(KONTEXT)

    def test_the_older_shape(self):
        data = {
            "task_id": "a62ba0d0-184f-xxxx79f",
            "status": "success",
            "task_info": {"frozen_credits": 0, "task_input": {"scale": 2, "image": A}},
            "task_result": {
                "used_credits": 30,
                "error_messages": [],
                "task_output": {"image_url": B, "image_base64": ""},
            },
        }
        assert parse_task({"code": 200, "data": data, "message": ""}) == TaskState(
            "a62ba0d0-184f-xxxx79f", "done", (MadeImage(url=B),), 30
        )

    def test_the_newer_shape_with_the_older_words(self):
        state = parse_task(answer("success", output={"image_url": A, "image_base64": ""}, meta={"created_at": "2024"}))
        assert state == TaskState("t-1", "done", (MadeImage(url=A),))


class TestStates:
    @pytest.mark.parametrize("word", ["completed", "Completed", "SUCCESS", "succeeded", " done ", "finished\t"])
    def test_done(self, word):
        assert parse_task(answer(word)).status == "done"

    @pytest.mark.parametrize("word", ["failed", "Failed", "failure", "error", "cancelled", "Canceled\n"])
    def test_failed(self, word):
        assert parse_task(answer(word)).status == "failed"

    @pytest.mark.parametrize(
        "word",
        ["pending", "Staged", "starting", "processing\t", "Processing", "running", "in_progress", "retry", "", "näher"],
    )
    def test_running_whatever_the_word(self, word):
        assert parse_task(answer(word)).status == "running"

    @pytest.mark.parametrize("word", [None, 5, True, ["completed"], {"status": "completed"}])
    def test_what_is_no_word_is_not_the_end(self, word):
        assert parse_task(answer(word)).status == "running"

    @pytest.mark.parametrize("word", ["pending", "failed"])
    def test_images_count_only_of_a_task_that_is_done(self, word):
        assert parse_task(answer(word, output={"image_url": A})).images == ()

    def test_done_without_an_image_is_done_and_paid_for(self):
        state = parse_task(answer(output=None, meta={"usage": {"consume": 7}}, error={"message": "no image"}))
        assert state == TaskState("t-1", "done", (), 7, "no image")


class TestIds:
    @pytest.mark.parametrize("id", ["49638cd2-4689-4f33-9336-164a8f6b1111", "a_b", "X" * 128])
    def test_ids(self, id):
        assert parse_task(answer("pending") | {"data": {"task_id": id}}).task_id == id

    @pytest.mark.parametrize("id", [None, "", " ", 5, "../1", "a/b", "a?b", "a b", "a\n", "..", "X" * 129, ["x"], "é"])
    def test_what_may_not_stand_in_a_path_is_none(self, id):
        assert parse_task({"code": 200, "data": {"task_id": id}}).task_id == ""

    def test_it_may_be_missing(self):
        assert parse_task({"code": 200, "data": {}}) == TaskState("", "running")


class TestImages:
    @pytest.mark.parametrize(
        ("output", "found"),
        [
            ({"image_url": A}, [(A, None)]),
            ({"image_url": f" {A}\n"}, [(A, None)]),
            ({"image_url": [A, B]}, [(A, None), (B, None)]),
            ({"image_urls": [A, B]}, [(A, None), (B, None)]),
            ({"image_urls": A}, [(A, None)]),
            ({"image_url": A, "image_urls": [A, B, A]}, [(A, None), (B, None)]),
            ({"image_url": B, "image_urls": None}, [(B, None)]),
            ({"images": [A, {"url": B}]}, [(A, None), (B, None)]),
            ({"images": [{"image_url": A}, {"url": "", "image_url": B}]}, [(A, None), (B, None)]),
            ({"images": [{"b64_json": PIXEL}]}, [(None, PIXEL)]),
            (
                {"images": [{"image_base64": PIXEL}, {"base64": PIXEL}, {"b64": "aGk="}]},
                [(None, PIXEL), (None, "aGk=")],
            ),
            ({"images": [{"url": A, "b64_json": PIXEL}]}, [(A, PIXEL)]),
            ({"images": [PIXEL]}, [(None, PIXEL)]),
            ({"image_url": "", "image_base64": PIXEL}, [(None, PIXEL)]),
            ({"image_url": A, "image_base64": PIXEL}, [(A, PIXEL)]),
            ({"image_base64": f"data:image/png;base64,{PIXEL}"}, [(None, PIXEL)]),
            ({"image_url": f"data:image/png;base64,{PIXEL}"}, [(None, PIXEL)]),
            ({"image_url": "data:image/png;base64,aGk="}, [(None, "aGk=")]),
            ({"image_base64": f"{PIXEL[:40]}\r\n{PIXEL[40:]}\n"}, [(None, PIXEL)]),
            ({"image_base64": PIXEL.rstrip("=")}, [(None, PIXEL)]),
        ],
    )
    def test_wherever_they_stand(self, output, found):
        assert images(output) == found
        assert images(None, task_result={"task_output": output}) == found

    def test_both_shapes_at_once(self):
        old = {"task_output": {"image_url": A}}
        assert images({"image_url": B}, task_result=old) == [(B, None), (A, None)]
        assert images({"image_url": A}, task_result=old) == [(A, None)]

    @pytest.mark.parametrize(
        "output",
        [
            *(None, "", [], 5, {}),
            {"image_url": None, "image_urls": [], "images": {}, "image_base64": ""},
            {"image_url": "pending"},
            {"image_url": "ftp://img.example/a.png"},
            {"image_url": "//img.example/a.png"},
            {"image_url": "javascript:alert(1)"},
            {"image_url": "https://img.example/a b.png"},
            {"image_url": "https://img.example/a\r\nx: y"},
            {"image_url": "https://"},
            {"image_url": "https://img.example/" + "a" * 9000 + "!"},
            {"image_url": "data:text/html;base64,aGk="},
            {"image_url": "data:image/png;base64,"},
            {"image_url": "data:image/png;base64,%%%"},
            {"image_base64": "not base64!"},
            {"image_base64": "a"},
            {"image_base64": "ééé"},
            {"images": [None, 5, {}, {"url": 5}, {"url": {"url": A}}]},
        ],
    )
    def test_what_is_no_image_is_left_out(self, output):
        assert images(output) == []

    @pytest.mark.parametrize(
        "output",
        [
            A,
            {"url": A},
            {"images": [[A]]},
            {"data": [{"image_url": {"url": A}}]},
            {"data": {"url": A}},
            {"result": {"images": [A]}},
        ],
    )
    def test_a_link_in_another_place_is_found(self, output):
        assert images(output) == [(A, None)]

    @pytest.mark.parametrize(
        "text",
        [
            PIXEL.rstrip("="),
            PIXEL.replace("+", "-").replace("/", "_").rstrip("="),
            f"data:image/png;charset=utf-8;base64,{PIXEL}",
            f"data:application/octet-stream;base64,{PIXEL}",
            f"data:;base64,{PIXEL}",
        ],
    )
    @pytest.mark.parametrize("place", ["data", "top"])
    def test_base64_is_repaired_as_in_other_answers(self, text, place):
        output = {"data": [{"b64_json": text}]} if place == "data" else {"b64_json": text}
        assert images(output) == [(None, PIXEL)]


class TestAnswersOfAnImagesApi:
    """The asynchronous picture routes tell the picture in an Images API's words, newer ones among them."""

    OUTPUT: ClassVar[dict[str, Any]] = {
        "data": [{"b64_json": PIXEL, "revised_prompt": "A bear."}],
        "size": "1024x1024",
        "svg_usage": {"total_tokens": 3},
        "newer": [1],
    }

    @pytest.mark.parametrize("document", [answer(output=OUTPUT), {"task_id": "t", "status": "done", "output": OUTPUT}])
    def test_no_field_of_theirs_is_lost(self, document: dict[str, Any]) -> None:
        state = parse_task(document)
        assert state.images == (MadeImage(b64=PIXEL, revised_prompt="A bear."),)
        assert state.told == {"size": "1024x1024"}
        assert state.others == {"svg_usage": {"total_tokens": 3}, "newer": [1]}

    @pytest.mark.parametrize("output", [{"image_url": A, "newer": 1}, {"images": [A], "prompt": "x"}, [A], A])
    def test_a_tasks_own_fields_are_none_of_them(self, output: Any) -> None:
        assert parse_task(answer(output=output)).others == {}


class TestPoints:
    @pytest.mark.parametrize(("said", "points"), [(0, 0), (20000, 20000), (200000.0, 200000), (10**9, 10**9)])
    def test_what_can_be_true(self, said, points):
        found = parse_task(answer(meta={"usage": {"consume": said}})).points
        assert (found, type(found)) == (points, int)

    @pytest.mark.parametrize(
        "said", [None, True, False, -1, 0.5, "20000", math.nan, math.inf, -math.inf, 10**9 + 1, 10**400, 1e300, [1], {}]
    )
    def test_what_cannot(self, said):
        assert parse_task(answer(meta={"usage": {"consume": said}})).points is None
        assert parse_task(answer(task_result={"used_credits": said})).points is None

    def test_the_newer_figure_comes_first(self):
        old = {"used_credits": 30}
        assert parse_task(answer(meta={"usage": {"consume": 0}}, task_result=old)).points == 0
        assert parse_task(answer(meta={"usage": {"consume": -1}}, task_result=old)).points == 30

    @pytest.mark.parametrize("meta", [None, [], "usage", {"usage": None}, {"usage": [1]}])
    def test_no_figure(self, meta):
        assert parse_task(answer(meta=meta)).points is None


class TestErrors:
    @pytest.mark.parametrize(
        ("members", "error"),
        [
            ({"error": {"code": 10000, "message": "task failed", "raw_message": "raw", "detail": "d"}}, "task failed"),
            ({"error": {"message": " ", "raw_message": "raw", "detail": "d"}}, "raw"),
            ({"error": {"message": "", "raw_message": "", "detail": "why"}}, "why"),
            ({"error": {"message": None, "detail": {"message": "deep"}}}, "deep"),
            ({"error": "just words"}, "just words"),
            ({"error": None, "detail": "outer"}, "outer"),
            ({"detail": [{"msg": "field required"}]}, "field required"),
            ({"task_result": {"error_messages": ["", "old words"]}}, "old words"),
            ({"logs": ["internal server error\nstatus code: 500"]}, "internal server error status code: 500"),
            ({"logs": [{}, {"level": "error", "message": "logged"}]}, "logged"),
            ({"error": {"message": ""}, "logs": None}, None),
            ({"error": {"code": 5}, "detail": 7, "logs": [1, None]}, None),
            ({}, None),
        ],
    )
    def test_the_first_words_there_are(self, members, error):
        assert parse_task(answer("failed", **members)).error == error

    def test_the_order_of_the_places(self):
        members = {
            "error": {"message": "1"},
            "detail": "2",
            "task_result": {"error_messages": ["3"]},
            "logs": ["4"],
        }
        for expected, place in zip("1234", members.copy(), strict=True):
            assert parse_task(answer("failed", **members)).error == expected
            del members[place]

    def test_a_long_one_is_cut(self):
        assert parse_task(answer("failed", detail="x" * 2_000)).error == "x" * 2_000
        assert parse_task(answer("failed", detail="x" * 2_001)).error == "x" * 1_999 + "…"

    def test_depth_is_not_followed_for_ever(self):
        nested: Any = "words"
        for _ in range(900):
            nested = [nested]
        assert parse_task(answer("failed", logs=nested)).error is None

    @pytest.mark.parametrize("word", ["pending", "retry"])
    def test_a_task_that_runs_has_not_failed(self, word):
        assert parse_task(answer(word, logs=["trying again"])).error is None

    def test_nor_has_one_that_is_done(self):
        assert parse_task(answer(output={"image_url": A}, logs=["step 1"])).error is None


class TestNoAnswer:
    @pytest.mark.parametrize(
        "document", [None, [], "x", 5, {}, {"code": 200}, {"data": None}, {"data": []}, {"data": ""}]
    )
    def test_what_is_no_tasks_answer(self, document):
        with pytest.raises(ValueError):
            parse_task(document)

    @pytest.mark.parametrize("code", [0, 400, 500, 201, "400", "OK", True, False, [200], {}, 200.5])
    def test_an_inner_code_other_than_200(self, code):
        with pytest.raises(ValueError, match="code"):
            parse_task(KONTEXT | {"code": code})

    @pytest.mark.parametrize("code", [200, 200.0, "200", None])
    def test_an_inner_code_that_is(self, code):
        assert parse_task(KONTEXT | {"code": code}) == parse_task(KONTEXT)


NAMES = st.sampled_from(
    [
        *("code", "data", "message", "task_id", "status", "output", "meta", "usage", "consume", "detail", "logs"),
        *("error", "raw_message", "task_result", "used_credits", "error_messages", "task_output", "image_url"),
        *("image_urls", "images", "image_base64", "url", "b64_json"),
    ]
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([200, "completed", "failed", A, PIXEL, f"data:image/png;base64,{PIXEL}"])
)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=6),
    max_leaves=30,
)


def check(document: object) -> None:
    try:
        state = parse_task(document)
    except ValueError:
        return
    assert state.points is None or 0 <= state.points <= 10**9
    assert state.error is None or 0 < len(state.error) <= 500
    assert all(image.url or image.b64 for image in state.images)
    assert not state.images or state.status == "done"


@settings(max_examples=200)
@given(document=JSON)
def test_anything_is_read_or_refused(document):
    check(document)


@settings(max_examples=200)
@given(
    status=st.sampled_from(["completed", "failed", "pending"]) | VALUES,
    members=st.dictionaries(NAMES, JSON, max_size=6),
)
def test_an_envelope_around_anything_is_read(status, members):
    check({"code": 200, "data": {**members, "status": status}})


@pytest.mark.parametrize(
    ("output", "links"),
    [
        ({"image_url": "https://a.example/1.png", "image_urls": ["https://a.example/1.png?sig=1"]}, ["1.png"]),
        ({"image_url": "https://a.example/1.png?e=1", "image_urls": ["https://a.example/1.png?e=2"]}, ["1.png?e=1"]),
        (
            {
                "image_url": "https://a.example/?id=1",
                "image_urls": ["https://a.example/?id=1", "https://a.example/?id=2"],
            },
            ["?id=1", "?id=2"],
        ),
        (
            {"image_url": "https://a.example/", "image_urls": ["https://a.example/?id=1", "https://a.example/?id=2"]},
            ["", "?id=2"],
        ),
        ({"image_urls": ["https://a.example/?id=1", "https://a.example/?id=2"]}, ["?id=1", "?id=2"]),
        ({"image_url": ["https://a.example/1.png", "https://a.example/2.png"]}, ["1.png", "2.png"]),
    ],
)
def test_one_image_under_two_links_is_one(output: dict[str, object], links: list[str]) -> None:
    state = parse_task({"data": {"status": "completed", "output": output}})
    assert [image.url for image in state.images] == [f"https://a.example/{link}" for link in links]


def test_images_without_end_are_not_read() -> None:
    links = [f"https://a.example/{number}.png" for number in range(1000)]
    for output in ({"image_urls": links}, {"images": links}, {"image_urls": links[:20], "images": links[20:]}):
        state = parse_task({"data": {"status": "completed", "output": output}})
        assert [image.url for image in state.images] == links[:MOST_READ]


def test_words_without_end_are_not_read() -> None:
    state = parse_task({"data": {"status": "failed", "detail": " " * 20_000 + "too late"}})
    assert state.error is None


class TestAsynchronousPictures:
    """The answers of PiAPI's asynchronous GPT-image routes: a task without an envelope, and its siblings."""

    DONE: ClassVar[dict[str, Any]] = {"task_id": "t-1", "status": "completed", "error": {"code": 0, "message": ""}}

    @pytest.mark.parametrize(
        "output",
        [
            {"data": [{"b64_json": PIXEL}]},
            {"data": [{"url": A}]},
            {"images": [{"url": A}]},
            {"images": [A]},
            [{"url": A}],
            [A],
        ],
    )
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_an_image_is_found_with_and_without_an_envelope(self, output, wrapped):
        task = {**self.DONE, "output": output}
        state = parse_task({"code": 200, "data": task, "message": "success"} if wrapped else task)
        assert (state.task_id, state.status) == ("t-1", "done")
        assert [image.url or image.b64 for image in state.images] in ([A], [PIXEL])

    @pytest.mark.parametrize("created", [{"task_id": "t-1", "status": "pending"}, {"id": "t-1", "status": "Queued"}])
    def test_an_id_at_the_top_is_one(self, created):
        assert parse_task(created) == TaskState("t-1", "running")
        assert is_task(created)

    def test_an_id_called_id_in_the_envelope_is_one(self):
        assert parse_task({"code": 200, "data": {"id": "t-1"}}).task_id == "t-1"
        assert parse_task({"code": 200, "data": {"id": "other", "task_id": "t-1"}}).task_id == "t-1"

    def test_an_answer_that_is_the_picture_already_has_no_id(self):
        state = parse_task({"created": 1, "data": [{"b64_json": PIXEL}], "usage": {"input_tokens": 1}})
        assert (state.task_id, state.status, len(state.images)) == ("", "done", 1)
        assert state.told == {"usage": {"input_tokens": 1}}

    def test_a_task_without_a_status_that_has_its_image_is_done(self):
        assert parse_task({"task_id": "t-1", "output": {"data": [{"url": A}]}}).status == "done"
        assert parse_task({"task_id": "t-1", "output": {"data": []}}).status == "running"

    def test_what_is_told_beside_the_image(self):
        output = {"data": [{"url": A}], "usage": {"output_tokens": 5}, "size": "1024x1024"}
        task = {**self.DONE, "quality": "low", "size": "auto", "input": {"prompt": "a cat"}, "output": output}
        state = parse_task(task)
        assert state.told == {"usage": {"output_tokens": 5}, "size": "1024x1024", "quality": "low"}
        assert state.asked == {"prompt": "a cat"}

    def test_a_failed_task_at_the_top_tells_why(self):
        state = parse_task({"task_id": "t-1", "status": "failed", "error": {"code": 10000, "message": "NSFW"}})
        assert (state.status, state.error) == ("failed", "NSFW")

    @pytest.mark.parametrize("other", [{"error": {"message": "no"}}, {"id": "x", "error": {}}, {"status": "done"}, []])
    def test_what_is_no_task_is_none(self, other):
        assert not is_task(other)

    def test_paths_of_a_model_that_is_described_are_looked_at_too(self):
        task = answer(output={"cover": {"url": A}, "more": [B]})
        assert parse_task(task).images == ()
        assert [image.url for image in parse_task(task, ("output.cover", "output.more", "x.y")).images] == [A, B]
