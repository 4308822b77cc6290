"""Who gets into the console: by the admin key, for a day, from its own pages alone; without a key this machine only."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
import yaml

from gateway.console.session import LASTS
from tests.console.markup import Page

from .conftest import StartGateway
from .console_browser import ADMIN_KEY, LOCKED, OTHER_ADMIN_KEY, Browser, at_console, routes_of
from .harness import ALICE, PROMPT, Rig

POSTS = routes_of("POST")
GETS = [path for path in routes_of("GET") if "/static/" not in path]
OPEN_TO_ALL = "/console/sign-in"


@pytest.fixture
async def locked(gateway: StartGateway) -> Rig:
    return await gateway(LOCKED)


async def test_the_right_key_opens_the_page_that_was_asked_for(locked: Rig) -> None:
    async with at_console(locked) as browser:
        answer = await browser.sign_in(path="/console/requests?key=alice")
        assert answer.headers["location"] == "/console/requests?key=alice"
        morsel = SimpleCookie(answer.headers["set-cookie"])[browser.cookie]
        assert (morsel["path"], morsel["max-age"], morsel["samesite"]) == ("/", str(LASTS), "Strict")
        assert morsel["httponly"]
        assert not morsel["secure"]
        assert ADMIN_KEY not in morsel.value
        page = await browser.follow(answer)
        assert "Requests" in page.text
        for path in ("/", "/console/jobs", "/console/keys", "/console/keys/alice", "/console/try"):
            assert (await browser.page(path)).form("/console/sign-out")
        assert "set-cookie" not in (await browser.open("/")).headers


async def test_behind_tls_the_cookie_never_goes_in_the_clear(locked: Rig) -> None:
    host = browser_host(locked)
    async with at_console(locked) as browser:
        answer = await browser.post("/console/sign-in", {"key": ADMIN_KEY}, origin=f"https://{host}")
        assert answer.status_code == 303
        assert "; Secure" in answer.headers["set-cookie"]


def browser_host(rig: Rig) -> str:
    return rig.gateway.admin_url.partition("://")[2]


@pytest.mark.parametrize("path", GETS)
async def test_no_page_says_anything_without_a_session(locked: Rig, path: str) -> None:
    async with at_console(locked) as browser:
        for cookie in ("", f"{browser.cookie}={'0' * 32}.1.9999999999.{'0' * 64}", f"{browser.cookie}="):
            answer = await browser.open(path, {"cookie": cookie} if cookie else None)
            assert answer.status_code == 401
            page = Page(answer.text)
            assert [form.action for form in page.forms] == ["/console/sign-in"]
            for secret in ("alice", "piapi", locked.sandbox.urls["api"], "gpt-"):
                assert secret not in page.text.replace("piapi-gateway", "")
        head = await browser.client.head(path)
        assert (head.status_code, head.content) == (401, b"")


@pytest.mark.parametrize("path", [path for path in POSTS if path != OPEN_TO_ALL])
async def test_no_form_does_anything_without_a_session(locked: Rig, path: str) -> None:
    async with at_console(locked) as browser:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {ALICE}"}):
            answer = await browser.post(path, {"name": "dora", "form_token": ""}, **headers)
            assert answer.status_code == 401
        assert (await browser.client.post(path)).status_code == 401


async def test_a_wrong_key_is_told_so_and_gives_no_cookie(locked: Rig) -> None:
    async with at_console(locked) as browser:
        for wrong in ("wrong", ALICE, ADMIN_KEY[:-1], ADMIN_KEY + "x", "é", " ", ""):
            answer = await browser.sign_in(wrong)
            assert answer.status_code == 401
            assert "not the admin key" in Page(answer.text).problem
            assert "set-cookie" not in answer.headers
            assert not wrong.strip() or f'value="{wrong}' not in answer.text
        assert (await browser.open("/")).status_code == 401


async def test_guessing_is_told_to_wait_and_the_right_key_still_passes(locked: Rig) -> None:
    async with at_console(locked) as browser:
        answers = [await browser.post("/console/sign-in", {"key": f"guess-{number}"}) for number in range(40)]
        waits = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 401
        assert answers[-1] is waits[-1]
        for answer in waits:
            assert int(answer.headers["retry-after"]) >= 1
            assert Page(answer.text).problem
            assert Page(answer.text).form("/console/sign-in")
        assert (await browser.sign_in()).status_code == 303
        assert (await browser.open("/")).status_code == 200


async def test_guesses_at_the_form_and_at_the_api_are_counted_together(locked: Rig) -> None:
    async with at_console(locked) as browser:
        for number in range(40):
            await browser.post("/console/sign-in", {"key": f"guess-{number}"})
        answer = await browser.client.get("/admin/v1/keys", headers={"authorization": "Bearer wrong"})
        assert answer.status_code == 429


async def test_signing_out_ends_it_in_this_browser(locked: Rig) -> None:
    async with at_console(locked) as browser:
        await browser.sign_in()
        answer = await browser.send((await browser.page("/")).form("/console/sign-out"))
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert browser.cookie not in browser.client.cookies
        assert (await browser.open("/")).status_code == 401


async def test_a_copy_of_the_cookie_is_worth_nothing_after_signing_out(locked: Rig) -> None:
    async with at_console(locked) as browser:
        await browser.sign_in()
        form, copy = (await browser.page("/console/keys")).form("/console/keys"), dict(browser.client.cookies)
        await browser.send((await browser.page("/")).form("/console/sign-out"))
        stolen = {"cookie": "; ".join(f"{name}={value}" for name, value in copy.items())}
        assert (await browser.open("/console/keys", stolen)).status_code == 401
        answer = await browser.post("/console/keys", {**form.fields, "name": "mallory"}, **stolen)
        assert answer.status_code == 401
        assert "session has ended" in Page(answer.text).problem


async def test_another_admin_key_ends_every_session(locked: Rig) -> None:
    async with at_console(locked) as browser:
        await browser.sign_in()
        form = (await browser.page("/console/keys")).form("/console/keys")
        file = locked.folder / "config.yaml"
        document = yaml.safe_load(file.read_text())
        document["admin"]["key"] = OTHER_ADMIN_KEY
        file.write_text(yaml.safe_dump(document))
        reloaded = await locked.gateway.reread()
        assert not reloaded.problems
        assert (await browser.open("/")).status_code == 401
        assert (await browser.send(form, name="dora")).status_code == 401
        assert (await browser.sign_in()).status_code == 401
        assert (await browser.sign_in(OTHER_ADMIN_KEY)).status_code == 303
        assert (await browser.send(form, name="dora")).status_code == 403, "a form of the session before"
        assert "dora" not in (await browser.page("/console/keys")).text


async def test_the_admin_key_as_a_bearer_token_opens_the_pages_too(locked: Rig) -> None:
    async with at_console(locked) as browser:
        bearer = {"authorization": f"Bearer {ADMIN_KEY}"}
        assert (await browser.open("/", bearer)).status_code == 200
        answer = await browser.open("/", {"authorization": "Bearer wrong"})
        assert answer.status_code == 401


def signed(form_token: str) -> dict[str, str]:
    return {"form_token": form_token, "name": "dora", "confirm": "dora", "kind": "chat", "model": "gpt-4o"}


async def token_of(browser: Browser) -> str:
    return (await browser.page("/")).form("/console/sign-out").fields["form_token"]


@pytest.mark.parametrize("path", POSTS)
async def test_no_foreign_page_sends_a_form_even_with_the_cookie_and_the_token(locked: Rig, path: str) -> None:
    async with at_console(locked) as browser:
        await browser.sign_in()
        fields = signed(await token_of(browser)) | {"key": ADMIN_KEY}
        port = int(browser.origin.rpartition(":")[2])
        for foreign in (
            {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
            {"origin": "null"},
            {"origin": f"http://localhost:{port + 1}", "sec_fetch_site": "same-site"},
            {"origin": f"http://127.0.0.1:{port + 1}", "sec_fetch_site": "same-site"},
            {"origin": f"http://127.0.0.1:{port}.evil.example"},
            {"host": "evil.example", "origin": "http://evil.example"},
            {"host": f"evil.example:{port}", "origin": f"http://evil.example:{port}"},
            {"sec_fetch_site": "cross-site"},
        ):
            answer = await browser.post(path, fields, **foreign)
            assert 400 <= answer.status_code < 500, foreign
            assert answer.status_code in (403, 415)
            assert "set-cookie" not in answer.headers
        without = {"sec-fetch-site": "cross-site"}
        assert (await browser.client.post(path, data=fields, headers=without)).status_code == 403
        assert "dora" not in (await browser.page("/console/keys")).text
    assert [request for request in locked.sandbox.requests if request.method == "POST"] == []


@pytest.mark.parametrize("path", GETS)
async def test_no_foreign_name_leads_to_a_page(gateway: StartGateway, path: str) -> None:
    for overrides in (LOCKED, ""):
        rig = await gateway(overrides)
        async with at_console(rig) as browser:
            if overrides:
                await browser.sign_in()
            for host in ("evil.example", "evil.example:8401", "127.0.0.1.nip.io", "localhost.evil.example"):
                answer = await browser.client.get(path, headers={"host": host})
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize("path", [path for path in POSTS if path != OPEN_TO_ALL])
async def test_a_form_without_its_sessions_token_is_refused(locked: Rig, path: str) -> None:
    async with at_console(locked) as browser, at_console(locked) as other:
        await browser.sign_in()
        await other.sign_in()
        for token in ("", await token_of(other), (await token_of(browser))[:-1]):
            answer = await browser.post(path, signed(token))
            assert answer.status_code == 403
            assert Page(answer.text).problem
        assert (await browser.post(path, {"name": "dora"})).status_code == 403
        assert "dora" not in (await browser.page("/console/keys")).text
        assert (await browser.open("/")).status_code == 200, "it is still signed in"


@pytest.mark.parametrize("path", POSTS)
async def test_only_forms_are_taken(locked: Rig, path: str) -> None:
    async with at_console(locked) as browser:
        await browser.sign_in()
        origin = {"origin": browser.origin}
        for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
            answer = await browser.client.post(path, content=b"{}", headers={**origin, "content-type": kind})
            assert answer.status_code == 415
        form = {**origin, "content-type": "application/x-www-form-urlencoded"}
        assert (await browser.client.post(path, content=b"a=%FF", headers=form)).status_code == 400
        assert (await browser.client.post(path, content=b"a=" + b"x" * 300_000, headers=form)).status_code == 413


async def test_without_an_admin_key_this_machine_needs_none(rig: Rig) -> None:
    async with at_console(rig) as browser:
        page = await browser.page("/")
        assert "Overview" in page.text
        assert page.forms == [], "there is no session to end"
        made = (await browser.page("/console/keys")).form("/console/keys")
        assert (await browser.send(made, name="dora")).status_code == 200
        for foreign in ({"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:3000"}):
            assert (await browser.post("/console/keys", {"name": "mallory"}, **foreign)).status_code in (403, 415)
        assert "mallory" not in (await browser.page("/console/keys")).text


async def test_static_files_are_for_all_and_nothing_else_is_there(locked: Rig) -> None:
    async with at_console(locked) as browser:
        for name in ("console.css", "console.js", "icon.svg"):
            answer = await browser.open(f"/console/static/{name}")
            assert answer.status_code == 200
            assert answer.headers["x-content-type-options"] == "nosniff"
        for name in ("pages.py", "..%2fpages.py", "%2e%2e/routes.py", "console.css%00", ""):
            assert (await browser.client.get(f"/console/static/{name}")).status_code == 404


async def test_neither_key_nor_session_is_ever_logged(locked: Rig) -> None:
    async with at_console(locked) as browser:
        await browser.sign_in("guess-" + ALICE)
        await browser.sign_in()
        made = await browser.make_key(name="dora")
        token, cookie = await token_of(browser), browser.client.cookies[browser.cookie]
        fields = {"form_token": token, "kind": "chat", "model": "gpt-4o", "prompt": PROMPT, "virtual_key": made}
        assert (await browser.post("/console/try", fields)).status_code == 200
        await browser.post(f"/console/keys/{made}", {"form_token": token, "name": made})
        await browser.client.get("/console/requests", params={"key": made})
    assert (await locked.row()).key == "dora"
    text = (locked.folder / "gateway.log").read_text()
    for secret in (ADMIN_KEY, token, cookie, cookie.rpartition(".")[2]):
        assert secret not in text
    assert made not in text
