"""The session that a browser is given for the admin key: how long it lasts, what ends it, and what its cookie says."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console import session as module
from gateway.console.session import (
    IDLE,
    LASTS,
    MOST_ENDED,
    NAME,
    RENEWED_AFTER,
    Session,
    Sessions,
    cookie_name,
    set_cookie,
    tokens_of,
)

NS = 1_000_000_000
BEGAN = 1_900_000_000


class World:
    """An admin key and a clock that a test can change."""

    def __init__(self) -> None:
        self.key = "admin-0123456789abcdef-secret"
        self.now_ns = BEGAN * NS
        self.sessions = self.gateway()

    def gateway(self) -> Sessions:
        """One more process that has this key, or the next start of the same."""
        return Sessions(lambda: self.key, lambda: self.now_ns)

    async def begun(self) -> tuple[str, Session]:
        token = await self.sessions.begin()
        session = await self.sessions.find(token)
        assert session is not None
        return token, session


@pytest.fixture
def world() -> World:
    return World()


async def test_a_session_that_is_not_used_lasts_half_an_hour_and_not_a_second_longer(world: World) -> None:
    token = await world.sessions.begin()
    world.now_ns = (BEGAN + IDLE) * NS - 1
    assert await world.sessions.find(token)
    world.now_ns += 1
    assert await world.sessions.find(token) is None


async def test_one_that_is_used_goes_on_for_a_working_day_and_not_longer(world: World) -> None:
    token, first = await world.begun()
    last = first
    while (found := await world.sessions.find(token)) is not None:
        assert (found.id, found.began, found.form_token) == (first.id, first.began, first.form_token)
        last = found
        token = await world.sessions.renewed(found) or token
        world.now_ns += RENEWED_AFTER * NS
    assert last.ends == BEGAN + LASTS
    assert world.now_ns >= (BEGAN + LASTS) * NS


async def test_a_page_that_is_looked_at_again_at_once_brings_no_new_token(world: World) -> None:
    _, session = await world.begun()
    world.now_ns += (RENEWED_AFTER - 1) * NS
    assert await world.sessions.renewed(session) == ""
    world.now_ns += NS
    assert await world.sessions.renewed(session)


async def test_one_that_was_ended_is_over_with_all_its_tokens_here(world: World) -> None:
    token, session = await world.begun()
    other = await world.sessions.begin()
    world.now_ns += RENEWED_AFTER * NS
    renewed = await world.sessions.renewed(session)
    world.sessions.end(session)
    assert await world.sessions.find(token) is None
    assert await world.sessions.find(renewed) is None
    assert await world.sessions.find(other)


def test_those_that_ended_take_no_more_room_than_a_thousand(world: World) -> None:
    for number in range(MOST_ENDED + 9):
        world.sessions.end(Session(str(number), 0, 0, ""))
    assert next(iter(world.sessions._ended)) == "9"
    assert len(world.sessions._ended) == MOST_ENDED


async def test_two_browsers_have_two_sessions(world: World) -> None:
    (one, first), (other, second) = await world.begun(), await world.begun()
    assert one != other
    assert first.form_token != second.form_token


async def test_another_process_with_the_same_admin_key_knows_it(world: World) -> None:
    token, session = await world.begun()
    assert await world.gateway().find(token) == session


async def test_another_admin_key_ends_it_and_the_old_key_brings_it_back(world: World) -> None:
    (token, session), old = await world.begun(), world.key
    world.key = "admin-of-another-day-0123"
    assert await world.sessions.find(token) is None
    world.key = old
    assert await world.sessions.find(token) == session


async def test_without_an_admin_key_there_is_no_session(world: World) -> None:
    world.key = ""
    assert await world.sessions.find(await world.sessions.begin()) is None


async def test_a_token_of_which_any_letter_was_changed_is_none(world: World) -> None:
    token = await world.sessions.begin()
    for place in range(len(token)):
        for letter in ("0", "1", "a", ".", "A", " "):
            changed = token[:place] + letter + token[place + 1 :]
            assert changed == token or await world.sessions.find(changed) is None, place


async def test_an_end_that_was_put_off_by_the_browser_is_not_believed(world: World) -> None:
    id, began, end, mac = (await world.sessions.begin()).split(".")
    for later in (f"{int(end) + 1}", "999999999999", f"0{end}", "٣" * 10):
        assert await world.sessions.find(f"{id}.{began}.{later}.{mac}") is None
        assert await world.sessions.find(f"{id}.{later}.{end}.{mac}") is None


async def test_the_token_of_forms_is_no_session_and_says_nothing_of_the_key(world: World) -> None:
    token, session = await world.begun()
    said, mac = token.rsplit(".", 1)
    assert session.form_token != mac
    assert await world.sessions.find(f"{said}.{session.form_token}") is None
    assert world.key not in token + session.form_token


@pytest.mark.parametrize("token", ["", ".", "..", "0..", "a.b.c.d", "9" * 4096, f"{'0' * 32}.1.9.{'0' * 64}\n", "\x00"])
async def test_what_is_no_token_at_all_is_none(world: World, token: str) -> None:
    assert await world.sessions.find(token) is None


@given(token=st.text(max_size=120))
async def test_no_text_is_a_session_by_chance(token: str) -> None:
    assert await World().sessions.find(token) is None


async def test_however_many_tokens_are_tried_the_key_is_stretched_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first sign-in after a start, strangers can send what looks like a token."""
    stretched: list[str] = []
    stretch = module._stretch

    def counted(key: str) -> bytes:
        stretched.append(key)
        return stretch(key)

    monkeypatch.setattr(module, "_stretch", counted)
    forged = f"{'0' * 32}.1.99999999999.{'0' * 64}"
    found = await asyncio.gather(*(world.sessions.find(forged) for _ in range(50)))
    assert set(found) == {None}
    assert len(stretched) == 1


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"localhost:8401", f"{NAME}_8401"),
        (b"127.0.0.1:9000", f"{NAME}_9000"),
        (b"[::1]:8401", f"{NAME}_8401"),
        (b"gateway.internal", NAME),
        (b"[::1]", NAME),
        (b"host:\xc3\xa9", NAME),
        (b"", NAME),
    ],
)
def test_each_gateway_of_a_machine_has_a_cookie_of_its_own(host: bytes, name: str) -> None:
    assert cookie_name(host) == name


@pytest.mark.parametrize(
    ("header", "tokens"),
    [
        (f"{NAME}=abc", ["abc"]),
        (f"theme=dark; {NAME}=abc; lang=en", ["abc"]),
        (f"  {NAME} = abc ", ["abc"]),
        (f"theme=dark;{NAME}=abc", ["abc"]),
        (f"{NAME}=junk; {NAME}=abc", ["junk", "abc"]),
        (f"{NAME}=a=b", ["a=b"]),
        (f"x{NAME}=abc", []),
        (f"{NAME}2=abc", []),
        (f"{NAME.upper()}=abc", []),
        (f"theme={NAME}=abc", []),
        (NAME, [""]),
        ("", []),
        (";;;=;=", []),
    ],
)
def test_the_cookie_is_found_among_those_of_other_servers(header: str, tokens: list[str]) -> None:
    assert list(tokens_of(header.encode(), NAME)) == tokens


@given(header=st.binary(max_size=200))
def test_any_bytes_may_stand_in_a_cookie_header(header: bytes) -> None:
    list(tokens_of(header, NAME))


def attributes(cookie: bytes) -> tuple[str, set[str]]:
    first, *rest = cookie.decode().split("; ")
    return first, set(rest)


def test_no_script_and_no_other_site_gets_the_cookie() -> None:
    pair, said = attributes(set_cookie(NAME, "abc", secure=False))
    assert pair == f"{NAME}=abc"
    assert said == {"Path=/", f"Max-Age={LASTS}", "HttpOnly", "SameSite=Strict"}


def test_a_cookie_that_came_by_https_never_goes_by_http() -> None:
    plain = attributes(set_cookie(NAME, "abc", secure=False))[1]
    assert attributes(set_cookie(NAME, "abc", secure=True))[1] == plain | {"Secure"}


def test_an_empty_one_takes_it_away_at_once() -> None:
    pair, said = attributes(set_cookie(NAME, "", secure=False))
    assert (pair, "Max-Age=0" in said, "Path=/" in said) == (f"{NAME}=", True, True)
