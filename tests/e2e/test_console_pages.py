"""What the console's pages show of a gateway at work: money, requests with their attempts, jobs with their pictures."""

from __future__ import annotations

import base64
import json
import re

import httpx2
import pytest

from gateway.stores.job_records import StoredJob
from tests.console.markup import Page

from .conftest import StartGateway
from .console_browser import Browser, at_console
from .harness import ALICE, FLUX_ONLY, PROMPT, Rig, chat_body, eventually
from .raw_orders import fetched, order
from .test_flux_tasks import IMPATIENT
from .test_kept_images import BY_THE_BACKUP, PNG

ASYNC = {"prefer": "respond-async"}


def pictures_of(page: Page) -> list[str]:
    return [attributes["src"] for attributes in page.every("img")]


async def ended_job(rig: Rig) -> StoredJob:
    """The one job there is, once it has ended."""
    found: list[StoredJob] = []

    async def ended() -> bool:
        found[:] = await rig.gateway._store.jobs.latest(2)
        return bool(found) and all(job.ended_ns is not None for job in found)

    await eventually(ended, "a job that has ended")
    [job] = found
    return job


async def job_page(rig: Rig, browser: Browser) -> tuple[StoredJob, Page]:
    """The page of the one job, as the list of jobs leads to it."""
    job = await ended_job(rig)
    path = f"/console/jobs/{job.key}/{job.id}"
    assert path in [attributes["href"] for attributes in (await browser.page("/console/jobs")).every("a")]
    return job, await browser.page(path)


async def test_a_request_that_failed_over_shows_every_attempt_and_why(rig: Rig) -> None:
    rig.sandbox.script("status;code=500", role="api", times=1)
    rig.sandbox.script("status;code=429", role="proxy", times=1)
    answer = await rig.chat()
    await rig.row()
    async with at_console(rig) as browser:
        for path in ("/", "/console/requests", f"/console/requests?request_id={answer.header('x-request-id')}"):
            text = (await browser.page(path)).text
            assert re.search("200 ?, 3 attempts", text)
            first = text.index(f"piapi at {rig.sandbox.urls['api']}, key first: upstream 5xx")
            second = text.index(f"piapi at {rig.sandbox.urls['proxy']}, key first: rate limited")
            third = text.index(f"backup at {rig.sandbox.urls['backup']}, key spare: ok")
            assert first < second < third
            assert "on to the next" in text[first:second]
            assert "on to the next" in text[second:third]
            assert "on to the next" not in text[third:]
            assert "owed (billed)" in text
        assert (await browser.page("/console/requests?request_id=other")).every("details") == []
        assert (await browser.page("/console/requests?key=carol")).every("details") == []


async def test_the_first_page_shows_what_was_spent_and_what_is_left(gateway: StartGateway) -> None:
    rig = await gateway(
        f"""
keys: [{{name: alice, team: growth, key: {ALICE}, budget: 5/month, models: {{"gpt-4o*": 2/day}}}}]
teams: {{growth: {{budget: 10/month}}}}
"""
    )
    for _ in range(2):
        assert (await rig.chat()).status == 200
    charged = sum(row.charged for row in await rig.rows(2))
    assert charged > 0
    shown = f"${charged / 1e9:.6f}".rstrip("0")
    async with at_console(rig) as browser:
        await eventually(lambda: rig.gateway._store.ledger.pending == 0, "nothing owed to the ledger")
        page = await browser.page("/")
        assert f"Today {shown} 2 requests, 0 images" in page.text
        assert f"This month {shown} 2 requests, 0 images" in page.text
        assert f"gpt-4o 2 {shown}" in page.text
        assert f"piapi 2 {shown}" in page.text
        left = f"${5 - charged / 1e9:.6f}".rstrip("0")
        assert re.search(rf"alice 2 \{shown} \{left} left of 5/month", page.text)
        assert "gpt-4o*: $1.9" in page.text
        assert "team growth: $9.9" in page.text
        assert "$0.00 reserved, of that $0.00 for unknown outcomes" in (await browser.page("/console/keys/alice")).text


async def test_keys_that_only_the_books_know_and_many_others_are_in_the_sums(rig: Rig) -> None:
    async with at_console(rig) as browser:
        made = await browser.make_key(name="dora")
        assert (await rig.chat(key=made)).status == 200
        await rig.row()
        page = await browser.until_page("/", lambda page: "no budget" in page.text)
        assert "/console/keys/dora" in [attributes["href"] for attributes in page.every("a")]


async def test_what_runs_is_shown_while_it_runs(rig: Rig) -> None:
    rig.sandbox.script("stall_head", times=1)
    async with rig.client() as client, at_console(rig) as browser:
        await client.ask(chat_body(), ALICE, {"x-request-id": "mine-42"})
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        page = await browser.page("/")
        assert "1 requests in flight" in page.text
        assert "Requests that run" in page.text
        assert page.text.index("Requests that run") < page.text.index("alice gpt-4o /v1/chat/completions")
        assert "running" in (await browser.page("/console/requests")).text
    await rig.at_least(1)
    async with at_console(rig) as browser:
        await browser.until_page("/", lambda page: "Requests that run" not in page.text)


async def test_hosts_and_keys_that_rest_say_so(rig: Rig) -> None:
    async with at_console(rig) as browser:
        text = (await browser.page("/")).text
        assert f"piapi {rig.sandbox.urls['api']} well" in text
        assert "backup spare 0" in text
        rig.sandbox.script("status;code=429", role="api", times=None)
        rig.sandbox.script("status;code=500", role="proxy", times=None)
        for _ in range(8):
            await rig.chat()
        page = await browser.page("/")
        assert "piapi first 0" in page.text
        assert "rests: rate limited" in page.text
    await rig.rows(8)


async def test_a_picture_in_base64_is_shown_from_its_own_path(rig: Rig) -> None:
    answer = await order(rig, model="gpt-image-1", quality="low", response_format="b64_json")
    [item] = answer.json()["data"]
    async with at_console(rig) as browser:
        job, page = await job_page(rig, browser)
        assert ("completed" in page.text, job.model in page.text) == (True, True)
        [path] = pictures_of(page)
        shown = await browser.open(path)
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
        assert shown.content == base64.b64decode(item["b64_json"])
        for number in ("1", "-1", "x", "00000000000001", "%D9%A0", "1e3"):
            assert (await browser.open(path[:-1] + number)).status_code == 404
    assert PROMPT not in page.text


async def test_a_picture_that_the_gateway_keeps_is_shown_to_the_byte(gateway: StartGateway) -> None:
    rig = await gateway(BY_THE_BACKUP)
    await order(rig)
    async with at_console(rig) as browser:
        _, page = await job_page(rig, browser)
        [path] = pictures_of(page)
        assert (await browser.open(path)).content == PNG
        [kept] = (rig.folder / "images").iterdir()
        kept.unlink()
        assert (await browser.open(path)).status_code == 404


async def test_a_picture_behind_a_link_is_fetched_for_the_page(rig: Rig) -> None:
    link = (await order(rig)).json()["data"][0]["url"]
    assert link.startswith(rig.sandbox.urls["api"].rpartition(":")[0])
    picture = (await fetched(link)).body
    async with at_console(rig) as browser:
        _, page = await job_page(rig, browser)
        assert link in page.text
        assert link not in [attributes["href"] for attributes in page.every("a")], (
            "a click there would tell it who asks"
        )
        [path] = pictures_of(page)
        shown = await browser.open(path)
        assert (shown.headers["content-type"], shown.content) == ("image/png", picture)


async def test_a_link_into_this_network_is_not_followed(gateway: StartGateway) -> None:
    rig = await gateway("images: {fetch_hosts: [], fetch_private: false}")
    await order(rig)
    async with at_console(rig) as browser:
        _, page = await job_page(rig, browser)
        before = len(rig.sandbox.requests)
        for path in pictures_of(page):
            assert (await browser.open(path)).status_code == 404
        assert len(rig.sandbox.requests) == before


async def test_a_job_that_failed_says_why(rig: Rig) -> None:
    refused = await order(rig, prompt=f"{PROMPT} [[sandbox: status;code=400]]", model="gpt-image-1", quality="low")
    assert refused.status == 400
    async with at_console(rig) as browser:
        _, page = await job_page(rig, browser)
        assert refused.error()["message"] in page.problem
        assert pictures_of(page) == []
        assert refused.error()["message"] in (await browser.page("/console/jobs")).text
        for path in ("/console/jobs/alice/job_gone", "/console/jobs/carol/" + (await ended_job(rig)).id):
            assert "no such job" in (await browser.page(path, 404)).problem


async def test_a_job_that_runs_keeps_its_page_up_to_date(rig: Rig) -> None:
    rig.sandbox.script("stall_head;seconds=4", times=1)
    body = json.dumps({"model": "gpt-image-1", "quality": "low", "prompt": PROMPT}).encode()
    accepted = await rig.post(body, target="/v1/images/generations", headers=ASYNC)
    assert accepted.status == 202
    async with at_console(rig) as browser:
        page = await browser.page(f"/console/jobs/alice/{accepted.json()['id']}")
        assert [main["data-refresh"] for main in page.every("main")] == ["5"]
        await browser.until_page("/", lambda page: "Jobs that run" in page.text)
        _, page = await job_page(rig, browser)
        assert "data-refresh" not in page.every("main")[0]


async def test_what_is_held_for_an_unknown_outcome_is_shown(gateway: StartGateway) -> None:
    rig = await gateway(IMPATIENT)
    rig.sandbox.script("task_never;method=POST;path=/api/v1/task")
    body = json.dumps({"model": "flux-dev", "prompt": PROMPT}).encode()
    assert (await rig.post(body, target="/v1/images/generations")).status == 504
    row = await rig.row()
    assert row.state == "unknown"
    async with at_console(rig) as browser:
        text = (await browser.page("/")).text
        assert "Held for requests of unknown outcome" in text
        assert "outcome unknown" in text
        assert str(row.task_id) in text


async def test_older_ones_are_a_link_away(gateway: StartGateway) -> None:
    rig = await gateway()
    for number in range(52):
        await rig.chat(headers={"x-request-id": f"n-{number}"})
    await rig.rows(52)
    async with at_console(rig) as browser:
        first = await browser.page("/console/requests?key=alice")
        assert len(first.every("details")) == 50
        [older] = [of["href"] for of in first.every("a") if "before=" in of.get("href", "")]
        assert "key=alice" in older
        last = await browser.page(older)
        assert len(last.every("details")) == 2


async def test_health_is_shown_while_the_store_cannot_be_read(rig: Rig) -> None:
    store, away = rig.folder / "gateway.db", rig.folder / "away.db"
    async with at_console(rig) as browser:
        store.rename(away)
        try:
            page = await browser.page("/")
            others = [(await browser.open(path)).status_code for path in ("/console/requests", "/console/jobs")]
            tried = await browser.page("/console/try")
        finally:
            away.rename(store)
    assert "books cannot be read" in page.problem
    assert "piapi-gateway restore" in page.problem
    assert f"piapi {rig.sandbox.urls['api']} well" in page.text
    assert others == [503, 503]
    assert tried.problem == ""


@pytest.mark.parametrize(
    "query",
    ["key=%00", "key=%FF", "before=%00", "request_id=" + "x" * 5000, "key=a&key=b", "&&=&", "key=%22%3Cscript%3E", "%"],
)
async def test_any_query_has_a_page(rig: Rig, query: str) -> None:
    async with at_console(rig) as browser:
        for path in ("/console/requests", "/console/jobs", "/console/keys", "/", "/console/try"):
            assert (await browser.open(f"{path}?{query}")).status_code == 200


async def test_what_clients_say_of_themselves_is_text_on_every_page(rig: Rig) -> None:
    evil = "<script>alert(1)</script>"
    answer = await rig.chat(model=evil, headers={"x-request-id": "a'onclick=alert(1)"})
    assert answer.status in (400, 404)
    rig.sandbox.script("status;code=400;message=<script>alert(1)</script>", times=1)
    await rig.chat()
    await order(rig, key=FLUX_ONLY, model="flux-schnell", prompt=f"{PROMPT} {evil}")
    await rig.at_least(2)
    async with at_console(rig) as browser:
        for path in ("/", "/console/requests", "/console/jobs"):
            await browser.page(path)
        answer = await browser.client.get(f"/console/keys/{httpx2.URL('/' + evil).path}")
        assert answer.status_code == 404
