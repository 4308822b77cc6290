"""What a client, and a webhook, is told of a job."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.wire.job_object import (
    MOST_IN_A_MESSAGE,
    JobFacts,
    job_deleted,
    job_message,
    job_object,
    job_page,
)

RUNNING = JobFacts("job_1", "in_progress", 1_795_337_221_999_999_999, "gpt-image-1", progress=0.424)
RESULT = b'{"created": 1, "data": [{"url": "https://a.example/1.png"}]}'
DONE = replace(RUNNING, status="completed", cost_usd=0.011, result=RESULT)
ERROR = {"message": "No.", "type": "upstream_error", "param": None, "code": "upstream_error"}


def test_one_that_runs_has_every_field() -> None:
    assert json.loads(job_object(RUNNING)) == {
        "id": "job_1",
        "object": "gateway.job",
        "status": "in_progress",
        "created_at": 1_795_337_221,
        "model": "gpt-image-1",
        "progress": 42,
        "cost_usd": None,
        "result": None,
        "error": None,
    }


def test_one_that_is_done_has_the_answer_and_its_cost() -> None:
    told = json.loads(job_object(DONE))
    assert told["result"] == json.loads(RESULT)
    assert (told["status"], told["progress"], told["cost_usd"]) == ("completed", 100, 0.011)


def test_one_that_failed_has_the_error_and_no_result() -> None:
    told = json.loads(job_object(replace(RUNNING, status="failed", cost_usd=0.0, error=ERROR)))
    assert (told["error"], told["result"], told["cost_usd"]) == (ERROR, None, 0)


@pytest.mark.parametrize(("progress", "percent"), [(-1.0, 0), (0.0, 0), (0.999, 99), (1.0, 99), (7.0, 99)])
def test_an_estimate_never_says_that_it_is_done(progress: float, percent: int) -> None:
    assert json.loads(job_object(replace(RUNNING, progress=progress)))["progress"] == percent


def test_a_page_leaves_results_out() -> None:
    page = json.loads(job_page([DONE, RUNNING], more=True))
    assert [one["result"] for one in page["data"]] == [None, None]
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", "job_1", "job_1", True)
    empty = json.loads(job_page([], more=False))
    assert (empty["data"], empty["first_id"], empty["last_id"], empty["has_more"]) == ([], None, None, False)


def test_a_message_names_the_end_and_holds_the_job() -> None:
    told = json.loads(job_message(DONE, "2026-11-22T08:47:01Z"))
    assert (told["type"], told["timestamp"]) == ("job.completed", "2026-11-22T08:47:01Z")
    assert told["data"] == json.loads(job_object(DONE))
    cancelled = json.loads(job_message(replace(RUNNING, status="cancelled"), "2026-11-22T08:47:01Z"))
    assert cancelled["type"] == "job.cancelled"


def test_a_result_too_large_for_a_message_is_said_to_be_left_out() -> None:
    large = replace(DONE, result=b'{"data": "' + b"x" * MOST_IN_A_MESSAGE + b'"}')
    data = json.loads(job_message(large, "2026-11-22T08:47:01Z"))["data"]
    assert (data["result"], data["result_omitted"]) == (None, True)


def test_what_is_forgotten() -> None:
    assert json.loads(job_deleted("job_1")) == {"id": "job_1", "object": "gateway.job", "deleted": True}
