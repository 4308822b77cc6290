"""The console's box: a chat and a picture go the way of any client's request, and are paid for by a virtual key."""

from __future__ import annotations

import pytest

from tests.console.markup import Form, Page

from .conftest import StartGateway
from .console_browser import Browser, at_console
from .harness import ALICE, FLUX_ONLY, PIAPI_KEY, PROMPT, Rig, eventually

TRY = "/console/try"


async def box(browser: Browser, kind: str) -> Form:
    return (await browser.page(TRY)).form(TRY, kind=kind)


async def test_a_chat_is_answered_on_the_page_and_booked_to_the_key(rig: Rig) -> None:
    async with at_console(rig) as browser:
        answer = await browser.send(await box(browser, "chat"), prompt=PROMPT, virtual_key=ALICE)
        page = Page(answer.text)
        assert (answer.status_code, page.problem) == (200, "")
        assert "Answer" in page.text
        assert "attempts: 1" in page.text
        assert ALICE not in answer.text, "the key is not kept in the form"
        assert page.form(TRY, kind="chat").fields["prompt"] == PROMPT
        row = await rig.row()
        assert (row.key, row.status, row.charged > 0) == ("alice", 200, True)
        [told] = [of["href"] for of in page.every("a") if "request_id=" in of.get("href", "")]
        assert len((await browser.page(told)).every("details")) == 1


async def test_a_form_that_is_sent_twice_buys_once(rig: Rig) -> None:
    async with at_console(rig) as browser:
        form = await box(browser, "picture")
        model = {"model": "gpt-image-1", "prompt": PROMPT, "virtual_key": ALICE}
        first, again = await browser.send(form, **model), await browser.send(form, **model)
        assert first.status_code == 303
        assert again.headers["location"] == first.headers["location"]
        await eventually(lambda: not rig.gateway.services.gate, "nothing in flight")
        assert len(rig.sandbox.bill) == 1
        await browser.send(form, **{**model, "prompt": PROMPT + "!"})
        await browser.send(await box(browser, "picture"), **model)
        await eventually(lambda: len(rig.sandbox.bill) == 3, "two orders more")


async def test_a_picture_leads_to_its_job_and_is_shown_there(rig: Rig) -> None:
    async with at_console(rig) as browser:
        form = await box(browser, "picture")
        answer = await browser.send(form, model="flux-schnell", prompt=PROMPT, virtual_key=FLUX_ONLY)
        assert answer.headers["location"].startswith("/console/jobs/carol/job_")
        page = await browser.until_page(answer.headers["location"], lambda page: bool(page.every("img")))
        shown = await browser.open(page.every("img")[0]["src"])
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
    assert (await rig.row()).key == "carol"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"virtual_key": "gw-wrong-key-0000000000"}, "invalid_api_key"),
        ({"virtual_key": ""}, "invalid_api_key"),
        ({"virtual_key": "a b"}, "virtual key"),
        ({"virtual_key": "é\r\nX-Evil: 1"}, "virtual key"),
        ({"virtual_key": ALICE, "model": "no-such-model"}, "model_not_found"),
        ({"virtual_key": FLUX_ONLY}, "model"),
        ({"virtual_key": ALICE, "prompt": f"{PROMPT} [[sandbox: status;code=400]]"}, "the request is not valid"),
    ],
)
@pytest.mark.parametrize("kind", ["chat", "picture"])
async def test_a_refusal_is_told_beside_the_form_that_was_sent(
    gateway: StartGateway, kind: str, fields: dict[str, str], told: str
) -> None:
    rig = await gateway()
    async with at_console(rig) as browser:
        model = "gpt-4o" if kind == "chat" else "gpt-image-1"
        answer = await browser.send(await box(browser, kind), **{"model": model, "prompt": PROMPT, **fields})
        if answer.status_code == 303:  # a picture that was refused once it had begun: its job says why
            page = await browser.until_page(answer.headers["location"], lambda page: bool(page.problem))
        else:
            page = Page(answer.text)
            assert page.form(TRY, kind=kind).fields["prompt"] == fields.get("prompt", PROMPT)
        assert told in page.problem
        assert fields["virtual_key"] not in page.text or not fields["virtual_key"]
        assert PIAPI_KEY not in page.text
        await eventually(lambda: not rig.gateway.services.gate, "nothing in flight")


async def test_where_no_key_is_asked_for_the_box_asks_for_none(gateway: StartGateway) -> None:
    rig = await gateway("{auth: none, keys: []}")
    async with at_console(rig) as browser:
        form = await box(browser, "chat")
        assert "virtual_key" not in form.fields
        page = Page((await browser.send(form, prompt=PROMPT)).text)
        assert (page.problem, "Answer" in page.text) == ("", True)
        answer = await browser.send(await box(browser, "picture"), model="gpt-image-1", prompt=PROMPT)
        await browser.until_page(answer.headers["location"], lambda page: bool(page.every("img")))
    await rig.rows(2)


async def test_an_upstreams_markup_is_shown_as_text(rig: Rig) -> None:
    evil = "<script>alert(1)</script><img src=http://evil.example/x.png onerror=alert(1)>"
    async with at_console(rig) as browser:
        answer = await browser.send(await box(browser, "chat"), prompt=f"{PROMPT} {evil}", virtual_key=ALICE)
        assert answer.status_code == 200
        assert Page(answer.text).form(TRY, kind="chat").fields["prompt"].endswith(evil)
    await rig.row()
