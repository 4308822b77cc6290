"""Forms as browsers send them, and as no browser would; the settings of a key there and back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import budget, duration
from gateway.console.forms import MOST_FIELDS, MOST_FORM, WAS, changed_fields, key_fields, read_form
from gateway.console.keys import as_form
from gateway.core.errors import ClientError
from gateway.core.types import Budget
from gateway.keys.budget_fields import Spending, merged
from gateway.keys.fields import KeyRules, read_settings, show_stored_key
from gateway.server.request import Request
from gateway.stores.key_records import KeySettings, StoredKey
from tests.heads import request_of

FORM = b"application/x-www-form-urlencoded"
NOW_NS = 1_795_000_000 * 1_000_000_000
RULES = KeyRules((), (), UTC, budget, duration)


def sent(body: bytes, kind: bytes = FORM) -> Request:
    """A POST whose body has come whole."""
    fields = [(b"host", b"localhost"), (b"content-length", b"%d" % len(body))]
    return request_of([*fields, (b"content-type", kind)] if kind else fields, method="POST", body=body)


async def refused(body: bytes, kind: bytes = FORM) -> ClientError:
    with pytest.raises(ClientError) as raised:
        await read_form(sent(body, kind))
    return raised.value


async def test_a_form_is_read_as_a_browser_writes_it() -> None:
    form = await read_form(sent(b"name=carol&note=a+b%0D%0A%26%3D%C3%A9&empty=&bare"))
    assert form == {"name": "carol", "note": "a b\r\n&=é", "empty": "", "bare": ""}
    assert await read_form(sent(b"")) == {}


@pytest.mark.parametrize("kind", [b"APPLICATION/X-WWW-FORM-URLENCODED", FORM + b"; charset=UTF-8", FORM + b" ;x"])
async def test_its_type_may_be_spelled_as_http_allows(kind: bytes) -> None:
    assert await read_form(sent(b"a=1", kind)) == {"a": "1"}


@pytest.mark.parametrize(
    "kind", [b"", b"application/json", b"text/plain", b"multipart/form-data; boundary=x", FORM + b"2", b"x/" + FORM]
)
async def test_another_type_is_no_form(kind: bytes) -> None:
    error = await refused(b"a=1", kind)
    assert (error.status, error.code) == (415, "unsupported_content_type")


@pytest.mark.parametrize(
    "body",
    [
        b"name=%FF",
        b"%C3%28=1",
        b"name=%ED%A0%80",  # half of a surrogate pair
        b"name=\xff",
        "name=é".encode(),
        b"&".join(b"a%d=1" % number for number in range(MOST_FIELDS + 1)),
        b"&" * MOST_FIELDS + b"a=1&b=1",
    ],
)
async def test_what_no_browser_sends_is_refused_in_words(body: bytes) -> None:
    error = await refused(body)
    assert error.status == 400
    assert "form cannot be read" in error.message


async def test_of_two_fields_of_one_name_the_last_counts() -> None:
    assert await read_form(sent(b"confirm=other&confirm=carol")) == {"confirm": "carol"}


async def test_a_form_that_is_too_long_is_refused() -> None:
    assert len(await read_form(sent(b"a=" + b"x" * (MOST_FORM - 2)))) == 1
    assert (await refused(b"a=" + b"x" * (MOST_FORM - 1))).status == 413


@given(fields=st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=20), max_size=MOST_FIELDS))
async def test_any_text_arrives_as_it_was_written(fields: dict[str, str]) -> None:
    assert await read_form(sent(urlencode(fields).encode())) == fields


@given(body=st.binary(max_size=200))
async def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(ClientError):
        await read_form(sent(body))


def test_an_empty_field_is_null_and_a_missing_one_is_left_alone() -> None:
    assert key_fields({"rpm": "", "models": " ", "model_budgets": "\r\n"}) == {
        "models": None,
        "model_budgets": None,
        "rpm": None,
    }
    assert key_fields({"name": "carol", "form_token": "x", "confirm": "y", "admin": "z"}) == {}


def test_lists_are_written_as_people_write_them() -> None:
    fields = key_fields(
        {"models": "gpt-4o*, flux-*\n o3 ,", "alert": "50%, 80 90%", "model_budgets": "a=1/day\r\n\r\n b* = 2/week "}
    )
    assert fields == {
        "models": ["gpt-4o*", "flux-*", "o3"],
        "alert": [50, 80, 90],
        "model_budgets": {"a": "1/day", "b*": "2/week"},
    }


@pytest.mark.parametrize("name", ["rpm", "tpm", "parallel", "alert"])
@pytest.mark.parametrize("text", ["many", "-1", "1.5", "1e3", "٣", "²", "0x10", "9" * 16, "1_000", "+1"])
def test_what_is_no_whole_number_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(ClientError) as raised:
        key_fields({name: text})
    assert (raised.value.status, raised.value.param) == (400, name)


@pytest.mark.parametrize("text", ["gpt-4o", "gpt-4o 5/day", "a = 1/day\nb"])
def test_a_budget_by_model_needs_its_sign(text: str) -> None:
    with pytest.raises(ClientError) as raised:
        key_fields({"model_budgets": text})
    assert (raised.value.status, raised.value.param) == (400, "model_budgets")


def sent_anew(was: dict[str, str], **now: str) -> dict[str, str]:
    """A form as a browser sends it after a person changed some of its fields."""
    return {**was, **{WAS + name: text for name, text in was.items()}, **now}


def test_a_line_that_was_taken_out_takes_its_budget_away_and_no_other() -> None:
    """A budget that was added elsewhere since the page was made is in no line of it, and stays."""
    form = {"model_budgets": "a = 1/day\nb = 2/day", "rpm": "5"}
    changed = changed_fields(sent_anew(form, model_budgets="b = 3/day\nc = 4/day"))
    assert changed == {"model_budgets": {"a": None, "b": "3/day", "c": "4/day"}}
    assert changed_fields(sent_anew(form, model_budgets="")) == {"model_budgets": {"a": None, "b": None}}
    assert changed_fields(sent_anew(form, rpm="6")) == {"rpm": 6}
    assert changed_fields(sent_anew(form)) == {}


def test_a_model_has_one_line() -> None:
    with pytest.raises(ClientError) as raised:
        key_fields({"model_budgets": "a = 1/day\na = 2/day"})
    assert "two lines" in raised.value.message


amounts = st.builds(Budget, st.integers(0, 10**15), st.sampled_from(["day", "week", "month", "total"]))
patterns = st.from_regex(r"(?a:[A-Za-z0-9._/:=+-]{1,20}\*?|\*)", fullmatch=True)
limits = st.none() | st.integers(1, 10**15 - 1)
notes = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), max_size=40).map(str.strip)
settings_of_keys = st.builds(
    KeySettings,
    team=st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True),
    models=st.lists(patterns, min_size=1, max_size=4).map(tuple),
    rpm=limits,
    tpm=limits,
    parallel=limits,
    budget=st.none() | amounts,
    expires_at_ns=st.none() | st.integers(NOW_NS // 10**9 + 1, 9 * 10**9).map(lambda seconds: seconds * 10**9),
    note=notes.filter(str.isprintable),
    model_budgets=st.dictionaries(patterns, amounts, max_size=4).map(lambda found: tuple(found.items())),
    alert=st.lists(st.integers(1, 100), max_size=4, unique=True).map(sorted).map(tuple),
)


def shown(settings: KeySettings) -> dict[str, Any]:
    """What the page has of a key."""
    return dict(show_stored_key(StoredKey("carol", b"", settings, NOW_NS), Spending(None, None, {}), NOW_NS))


def saved(form: dict[str, str], old: KeySettings) -> KeySettings:
    """A key's settings after its form was sent, made when it had others."""
    fields = changed_fields(sent_anew(dict(as_form(shown(old))), **form))
    return merged(old, read_settings(fields, RULES, NOW_NS))


@given(settings=settings_of_keys)
def test_a_form_that_is_sent_as_it_was_shown_changes_nothing(settings: KeySettings) -> None:
    assert saved(dict(as_form(shown(settings))), settings) == settings


@given(settings=settings_of_keys, others=settings_of_keys)
def test_a_form_says_all_of_a_key_whatever_it_was_before(settings: KeySettings, others: KeySettings) -> None:
    after = saved(dict(as_form(shown(settings))), others)
    assert replace(after, model_budgets=()) == replace(settings, model_budgets=())
    assert dict(after.model_budgets) == dict(settings.model_budgets)
