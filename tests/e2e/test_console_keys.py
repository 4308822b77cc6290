"""Virtual keys in the console: made, changed, rotated and revoked by the forms that its pages hold."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from tests.console.markup import Page
from tests.raw_client import get

from .conftest import StartGateway
from .console_browser import LOCKED, Browser, at_console, shown_key
from .harness import ALICE, Rig

SETTINGS = {
    "models": "gpt-4o*, flux-*",
    "budget": "5/month",
    "model_budgets": "gpt-4o* = 2/day\r\nflux-* = 1/week",
    "alert": "50, 80",
    "rpm": "100",
    "tpm": "5000",
    "parallel": "4",
    "expires": "2035-01-31",
    "note": "Dora's notebook & <b>more</b>",
}


@pytest.fixture
async def browser(rig: Rig):  # type: ignore[no-untyped-def]
    async with at_console(rig) as opened:
        yield opened


async def told(rig: Rig, path: str) -> dict[str, object]:
    """What the admin API says."""
    document: dict[str, object] = json.loads(await get(f"{rig.gateway.admin_url}/admin/v1/{path}", rig._admin_key))
    return document


async def change(browser: Browser, name: str, **fields: str) -> Page:
    """The page after its settings were saved as they are, but for these."""
    path = f"/console/keys/{name}"
    answer = await browser.send((await browser.page(path)).form(path), **fields)
    if answer.status_code == 303:
        assert answer.headers["location"] == f"{path}?saved=yes"
        page = await browser.follow(answer)
        assert "Saved; it is in force." in page.text
        return page
    assert answer.status_code in (400, 409), answer.text
    return Page(answer.text)


async def test_a_key_is_made_shown_once_and_works(rig: Rig, browser: Browser) -> None:
    page = await browser.page("/console/keys")
    answer = await browser.send(page.form("/console/keys"), name="dora", **SETTINGS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    key = shown_key(answer)
    assert answer.text.count(key) == 1
    assert (await rig.chat(key=key)).status == 200
    for path in ("/", "/console/keys", "/console/keys/dora", "/console/requests", "/console/keys/dora?saved=yes"):
        assert key not in (await browser.open(path)).text
    shown = await told(rig, "keys/dora")
    assert (shown["models"], shown["budget"], shown["alert"]) == (["gpt-4o*", "flux-*"], "5/month", [50, 80])
    assert (shown["rpm"], shown["tpm"], shown["parallel"], shown["note"]) == (100, 5000, 4, SETTINGS["note"])
    await rig.row()


async def test_a_page_that_is_saved_as_it_is_changes_nothing(rig: Rig, browser: Browser) -> None:
    await browser.make_key(name="dora", **SETTINGS)
    before = await told(rig, "keys/dora")
    await change(browser, "dora")
    assert await told(rig, "keys/dora") == before


async def test_a_change_is_in_force_and_what_was_emptied_is_gone(rig: Rig, browser: Browser) -> None:
    await browser.make_key(name="dora", **SETTINGS)
    await change(browser, "dora", rpm="7", budget="", model_budgets="flux-* = 3/week", models="", note="")
    shown = await told(rig, "keys/dora")
    assert (shown["rpm"], shown["budget"], shown["models"], shown["note"]) == (7, None, ["*"], "")
    assert isinstance(shown["model_budgets"], dict)
    assert {name: one["budget"] for name, one in shown["model_budgets"].items()} == {"flux-*": "3/week"}
    await change(browser, "dora", model_budgets="")
    assert (await told(rig, "keys/dora"))["model_budgets"] == {}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("budget", "fifty"),
        ("rpm", "many"),
        ("rpm", "0"),
        ("alert", "101"),
        ("model_budgets", "gpt-4o 5/day"),
        ("model_budgets", "gpt-4o = much"),
        ("expires", "yesterday"),
        ("expires", "2001-01-01"),
        ("models", "a*b"),
        ("note", "x" * 1001),
    ],
)
async def test_what_makes_no_sense_is_told_and_stays_in_the_form(
    rig: Rig, browser: Browser, field: str, text: str
) -> None:
    made = (await browser.page("/console/keys")).form("/console/keys")
    answer = await browser.send(made, name="dora", **{**SETTINGS, field: text})
    page = Page(answer.text)
    assert answer.status_code == 400
    assert field in page.problem
    assert page.form("/console/keys").fields["name"] == "dora"
    wanted = {**SETTINGS, field: text}
    assert {name: page.form("/console/keys").fields[name] for name in wanted} == wanted
    await browser.make_key(name="dora", **SETTINGS)
    before = await told(rig, "keys/dora")
    page = await change(browser, "dora", **{field: text})
    assert field in page.problem
    assert page.form("/console/keys/dora").fields[field] == text
    assert await told(rig, "keys/dora") == before


@pytest.mark.parametrize(
    ("name", "status"), [("", 400), ("a b", 400), ("é", 400), ("..", 400), ("x" * 65, 400), ("alice", 409)]
)
async def test_a_name_that_cannot_be_had_is_told(browser: Browser, name: str, status: int) -> None:
    answer = await browser.send((await browser.page("/console/keys")).form("/console/keys"), name=name, note="kept")
    page = Page(answer.text)
    assert answer.status_code == status
    assert page.problem
    assert (page.form("/console/keys").fields["note"], page.form("/console/keys").fields["name"]) == ("kept", name)


async def test_names_are_given_once(browser: Browser) -> None:
    await browser.make_key(name="dora")
    answer = await browser.send((await browser.page("/console/keys")).form("/console/keys"), name="dora")
    assert (answer.status_code, "dora" in Page(answer.text).problem) == (409, True)


async def test_a_rotated_key_works_on_for_its_grace_alone(rig: Rig, browser: Browser) -> None:
    first = await browser.make_key(name="dora")
    path = "/console/keys/dora/rotate"
    answer = await browser.send((await browser.page("/console/keys/dora")).form(path))
    second = shown_key(answer)
    assert "The one before works until" in Page(answer.text).text
    assert [(await rig.chat(key=key)).status for key in (first, second)] == [200, 200]
    third = shown_key(await browser.send((await browser.page("/console/keys/dora")).form(path), grace="0s"))
    assert [(await rig.chat(key=key)).status for key in (second, third)] == [401, 200]
    answer = await browser.send((await browser.page("/console/keys/dora")).form(path), grace="soon")
    assert (answer.status_code, "grace" in Page(answer.text).problem) == (400, True)
    await rig.rows(3)


async def test_a_form_that_is_sent_twice_rotates_once(rig: Rig, browser: Browser) -> None:
    """The page that shows a new key may be loaded again; without a grace that would end the key just copied."""
    await browser.make_key(name="dora")
    form = (await browser.page("/console/keys/dora")).form("/console/keys/dora/rotate")
    answers = await asyncio.gather(*(browser.send(form, grace="0s") for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    [shown] = [shown_key(answer) for answer in answers if answer.status_code == 200]
    assert (await browser.send(form, grace="0s")).status_code == 409
    assert (await rig.chat(key=shown)).status == 200
    again = (await browser.page("/console/keys/dora")).form("/console/keys/dora/rotate")
    assert (await browser.send(again)).status_code == 200
    await rig.rows(1)


async def test_what_is_changed_elsewhere_meanwhile_stays(rig: Rig, browser: Browser) -> None:
    await browser.make_key(name="dora", model_budgets="gpt-4o* = 1/day", note="of spring")
    form = (await browser.page("/console/keys/dora")).form("/console/keys/dora")
    elsewhere = {"model_budgets": {"flux-*": "2/day"}, "note": "of autumn"}
    async with httpx2.AsyncClient(base_url=rig.gateway.admin_url) as client:
        assert (await client.patch("/admin/v1/keys/dora", json=elsewhere)).status_code == 200
    await browser.follow(await browser.send(form, model_budgets="gpt-4o* = 3/day"))
    now = (await browser.page("/console/keys/dora")).form("/console/keys/dora").fields
    assert sorted(now["model_budgets"].splitlines()) == ["flux-* = 2/day", "gpt-4o* = 3/day"]
    assert now["note"] == "of autumn"


async def test_a_key_is_revoked_by_the_one_who_writes_its_name(rig: Rig, browser: Browser) -> None:
    key = await browser.make_key(name="dora")
    path = "/console/keys/dora/revoke"
    for slip in ("", "dor", "DORA", "alice"):
        answer = await browser.send((await browser.page("/console/keys/dora")).form(path), confirm=slip)
        assert (answer.status_code, "was not revoked" in Page(answer.text).problem) == (400, True)
    assert (await rig.chat(key=key)).status == 200
    page = await browser.follow(
        await browser.send((await browser.page("/console/keys/dora")).form(path), confirm="dora")
    )
    assert "revoked" in page.text
    assert page.forms == [], "nothing more can be done to it"
    assert (await rig.chat(key=key)).status == 401
    links = [of.get("href") for of in (await browser.page("/console/keys")).every("a")]
    assert "/console/keys/dora" not in links
    assert "dora" in (await browser.page("/console/keys?revoked=yes")).text
    for act, status in (("", 409), ("/rotate", 409), ("/revoke", 303)):
        answer = await browser.post(f"/console/keys/dora{act}", {"confirm": "dora", "note": "x"})
        assert answer.status_code == status, "to revoke it again changes nothing, here as in the API"
    await rig.row()


async def test_a_key_of_the_file_is_shown_and_left_alone(rig: Rig, browser: Browser) -> None:
    page = await browser.page("/console/keys/alice")
    assert "kept in the configuration file" in page.text
    assert page.forms == []
    for act in ("", "/rotate", "/revoke"):
        answer = await browser.post(f"/console/keys/alice{act}", {"confirm": "alice", "note": "x"})
        assert answer.status_code == 409
        assert Page(answer.text).problem
    assert (await rig.chat(key=ALICE)).status == 200
    await rig.row()


@pytest.mark.parametrize("act", ["", "/rotate", "/revoke"])
async def test_a_key_that_is_not_there_is_not_found(browser: Browser, act: str) -> None:
    for name in ("dora", "%00", "%2e%2e%2fx", "%FF", "%3Cscript%3E", "x" * 300):
        answer = await browser.post(f"/console/keys/{name}{act}", {"confirm": "dora", "note": "x"})
        assert answer.status_code in (400, 404), name
        assert (await browser.open(f"/console/keys/{name}")).status_code == 404


async def test_a_team_is_chosen_of_those_that_are_named(rig: Rig, browser: Browser) -> None:
    await browser.make_key(name="dora", team="growth")
    assert (await told(rig, "keys/dora"))["team"] == "growth"
    answer = await browser.send((await browser.page("/console/keys")).form("/console/keys"), name="erin", team="gone")
    assert (answer.status_code, "growth" in Page(answer.text).problem) == (400, True)
    await change(browser, "dora", team="")
    assert (await told(rig, "keys/dora"))["team"] is None


async def test_every_act_is_in_the_audit_log_without_a_key(gateway: StartGateway) -> None:
    rig = await gateway(LOCKED)
    async with at_console(rig) as browser:
        await browser.sign_in()
        keys = [await browser.make_key(name="dora")]
        await change(browser, "dora", rpm="5")
        page = await browser.page("/console/keys/dora")
        keys.append(shown_key(await browser.send(page.form("/console/keys/dora/rotate"))))
        await browser.send(page.form("/console/keys/dora/revoke"), confirm="dora")
    rows = (await told(rig, "audit?since=1d"))["data"]
    assert isinstance(rows, list)
    acts = [(row["who"], row["act"]) for row in rows if row["act"].startswith("key.")]
    who = "console, admin key"
    assert acts == [(who, f"key.{act}") for act in ("create", "set", "rotate", "revoke")]
    assert not [key for key in keys if key in json.dumps(rows)]
    assert not [key for key in keys if key in (rig.folder / "gateway.log").read_text()]


async def test_more_keys_than_a_page_holds_are_a_link_away(browser: Browser) -> None:
    for number in range(101):
        assert (await browser.post("/console/keys", {"name": f"key-{number:03}"})).status_code == 200
    page = await browser.page("/console/keys")
    [more] = [of["href"] for of in page.every("a") if "after=" in of.get("href", "")]
    assert "key-100" not in page.text
    assert "key-100" in (await browser.page(more)).text
