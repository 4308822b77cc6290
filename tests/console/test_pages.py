"""Every template, with values that attack it: what clients, upstreams and key names say stays text on every page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.console import pages
from gateway.console.keys import as_form
from gateway.console.pages import SECURITY, page, static_file, to
from gateway.console.pictures import Picture, Shown
from gateway.console.session import Session
from gateway.console.source import OverviewBooks, Reply
from gateway.console.spend import Spent
from gateway.console.visitors import Visitor
from gateway.core.errors import ClientError
from gateway.endpoints.admin.jobs import job_row
from gateway.endpoints.admin.paths import CONSOLE_STATIC
from gateway.endpoints.admin.requests import request_row
from gateway.stores.job_records import StoredJob
from gateway.stores.records import Held, UsageRow
from gateway.stores.seen_exchanges import SeenAttempt, SeenExchange
from gateway.wire.job_object import JobFacts

from .markup import Page, unsafe

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)><style>*{}</style>{{ 7*7 }}</textarea></pre>"
"""Ends attributes in either quote, texts, and elements whose content is no markup."""

VISITOR = Visitor(EVIL, EVIL, Session(EVIL, 1, 2, EVIL))
ERROR = ClientError(400, "invalid_request_error", EVIL, EVIL)
SPENT = Spent(EVIL, nano=1_500_000_000, requests=3, images=1, tokens=9, doubtful=1)
BUDGET = {"budget": EVIL, "used_usd": 1.0, "left_usd": 4.0}
KEY: dict[str, Any] = {
    "name": EVIL,
    "source": "store",
    "state": EVIL,
    "team": EVIL,
    "models": [EVIL],
    "rpm": None,
    "tpm": None,
    "parallel": None,
    "budget": EVIL,
    "budget_used_usd": 1.0,
    "budget_reserved_usd": 0.5,
    "budget_held_usd": 0.25,
    "budget_left_usd": 4.0,
    "budget_renews": EVIL,
    "model_budgets": {EVIL: BUDGET},
    "team_budget": BUDGET,
    "alert": [80],
    "expires": EVIL,
    "note": EVIL,
    "created": EVIL,
    "revoked": EVIL,
    "old_key_until": EVIL,
    "key": EVIL,
    "warnings": [EVIL],
}
ATTEMPT = SeenAttempt(EVIL, EVIL, EVIL, EVIL, 1, cost=5, reason=EVIL, task_id=EVIL)
SEEN = SeenExchange(
    EVIL, 1, EVIL, EVIL, EVIL, EVIL, EVIL, None, 1, "settled", 2, 502, EVIL, EVIL, EVIL, 1, 1, 1, 1, 5, 5, "estimated",
    EVIL, EVIL, (ATTEMPT, ATTEMPT),
)  # fmt: skip
ROWS = [request_row(SEEN), request_row(SeenExchange(EVIL, 1, EVIL, None, EVIL, EVIL, EVIL, EVIL, 1, "unknown", 2, 504))]
STORED = StoredJob(EVIL, EVIL, EVIL, EVIL, EVIL, b"", None, EVIL, EVIL, False, 1, "failed", error=b"{}")
JOBS = [{**job_row(STORED), "state": EVIL, "error": {"status": 400, "code": EVIL, "message": EVIL}}]
STATUS: dict[str, Any] = {
    "draining": True,
    "in_flight": 1,
    "ledger_rows_pending": 2,
    "event_loop_lag_seconds": 0.001,
    "rates": {"requests_per_minute": 1.5, "errors_per_minute": 0, "refused_per_minute": 0},
    "upstreams": [
        {
            "name": EVIL,
            "endpoints": [{"url": EVIL, "breaker": EVIL, "retry_in": 4.0}],
            "models": [{"model": EVIL, "breaker": EVIL, "retry_in": 4.0}],
            "keys": [
                {
                    "name": EVIL,
                    "in_flight": 1,
                    "max_parallel": 4,
                    "cooling": EVIL,
                    "retry_in": 3.0,
                    "models": [{"model": EVIL, "cooling": EVIL, "retry_in": 3.0}],
                }
            ],
        }
    ],
    "off": [EVIL],
    "gateways": [{"id": EVIL, "state": EVIL, "version": EVIL, "in_flight": 1, "seen_at": EVIL}] * 2,
}
RUNNING = Held(EVIL, 1, EVIL, None, 5, EVIL, True, EVIL, EVIL)
HELD = {"since": EVIL, "key": EVIL, "model": EVIL, "held_usd": 1.0, "why": EVIL}


@dataclass(frozen=True)
class AJob:
    """What the page of a job shows of it."""

    id: str = EVIL
    key: str = EVIL
    model: str = EVIL
    route: str = EVIL
    request_id: str = EVIL
    over: bool = False


OVERVIEW: dict[str, Any] = {
    "status": STATUS,
    "zone": EVIL,
    "in_flight": 3,
    "alone": False,
    "trouble": "",
    "most_running": 1,
    "books": OverviewBooks(
        at_ns=1,
        today=SPENT,
        month=SPENT,
        by_key=[(SPENT, KEY), (SPENT, {})],
        by_team=[SPENT],
        by_model=[SPENT],
        by_upstream=[SPENT],
        running=[RUNNING] * 2,
        latest=ROWS,
        held=[HELD] * 21,
        jobs=JOBS * 2,
    ),
}
USED = UsageRow({"key": EVIL, "model": None}, 3, 1, 0, 2, 1, 5, unpriced_requests=1, estimated_requests=1)
SPEND: dict[str, Any] = {
    "since": EVIL,
    "until": EVIL,
    "by": ["key", "model"],
    "fields": ["key", "model"],
    "rows": [USED],
    "more": 2,
    "total": SPENT,
    "problem": "",
    "query": EVIL,
    "zone": EVIL,
}
KEY_PAGE = {
    "key": KEY,
    "form": as_form(KEY),
    "was": as_form(KEY),
    "error": None,
    "saved": False,
    "grace": EVIL,
    "made": 1,
    "teams": [EVIL],
}
KEYS_PAGE: dict[str, Any] = {
    "rows": [KEY],
    "after": EVIL,
    "revoked": True,
    "form": {**as_form(KEY), "name": EVIL},
    "error": ERROR,
    "teams": (),
}
TRY: dict[str, Any] = {
    "form": {"kind": "chat", "model": EVIL, "prompt": EVIL},
    "chats": [EVIL],
    "pictures": [EVIL],
    "keyless": False,
    "order": EVIL,
    "reply": Reply(200, {"x-request-id": EVIL, "x-gateway-cost-usd": "0.5", "x-gateway-attempts": EVIL}, None),
    "text": EVIL,
    "problem": None,
}
FACTS = JobFacts(EVIL, "failed", 1, EVIL, 0.5, 0.5, None, {"message": EVIL, "code": EVIL})
PICTURES = (Picture(link=f"http://h/{EVIL}"), Picture(EVIL))
OLDER = {"older": EVIL, "newest": False, "live": True}
SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "overview": ("overview.html", OVERVIEW),
    "overview without books": ("overview.html", {**OVERVIEW, "trouble": EVIL, "books": None}),
    "spend": ("spend.html", SPEND),
    "spend of no period": ("spend.html", {**SPEND, "problem": EVIL}),
    "requests": ("requests.html", {"rows": ROWS, "filters": {"key": EVIL, "request_id": EVIL}, **OLDER}),
    "jobs": ("jobs.html", {"rows": JOBS, "key": EVIL, **OLDER}),
    "job": ("job.html", {"job": AJob(), "facts": FACTS, "shown": Shown(PICTURES, EVIL)}),
    "keys": ("keys.html", KEYS_PAGE),
    "key": ("key.html", KEY_PAGE),
    "key of another team": ("key.html", {**KEY_PAGE, "teams": ["growth"], "error": ERROR}),
    "key of the file": ("key.html", {**KEY_PAGE, "key": {**KEY, "source": "file"}}),
    "key made": ("key_made.html", {"key": KEY, "act": "made"}),
    "try": ("try.html", TRY),
    "try that failed": ("try.html", {**TRY, "problem": {"message": EVIL, "code": EVIL}}),
    "problem": ("problem.html", {"error": ERROR}),
    "sign in": ("sign_in.html", {"problem": EVIL, "wanted": EVIL}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
async def test_what_others_wrote_stays_text(name: str) -> None:
    template, values = SHOWN[name]
    made = await page(template, 200, visitor=VISITOR, **values)
    document = made.body.decode()
    assert unsafe(document) == []
    assert "<script>alert" not in document
    assert not Page(document).every("img") or name == "job"
    assert EVIL in Page(document).text, "it is shown all the same, to the letter"
    assert "49" not in Page(document).text.replace(EVIL, ""), "and is no template itself"


async def test_every_template_is_tried_here() -> None:
    tried = {template for template, _ in SHOWN.values()} | {"base.html", "parts.html"}
    assert tried == set(pages._templates().list_templates())


@pytest.mark.parametrize("name", SHOWN)
async def test_every_field_has_a_label_and_every_table_its_heads(name: str) -> None:
    """A page that is read aloud, or walked through by keys."""
    template, values = SHOWN[name]
    document = (await page(template, 200, visitor=VISITOR, **values)).body.decode()
    assert document.startswith("<!doctype html>\n<html lang=\"en\">")  # fmt: skip
    assert document.count('<main id="main"') == document.count("<h1>") == 1
    assert 'class="skip" href="#main"' in document
    for line in document.splitlines():
        if "<input " in line and 'type="hidden"' not in line:
            assert "<label" in line
        if "<textarea " in line or "<select " in line:
            assert "<label" in line
        assert "tabindex" not in line
        assert "<img " not in line or " alt=" in line
    assert document.count("<table>") == document.count("<thead>")
    identifiers = [attributes["id"] for _, attributes in Page(document).elements if "id" in attributes]
    described = [of["aria-describedby"] for _, of in Page(document).elements if "aria-describedby" in of]
    assert set(described) <= set(identifiers)


async def test_a_page_is_kept_by_no_cache_and_allowed_nothing_from_elsewhere() -> None:
    made = await page("sign_in.html", 401, problem="", wanted="")
    headers = dict(made.headers)
    assert headers[b"cache-control"] == b"no-store"
    policy = dict(part.split(" ", 1) for part in headers[b"content-security-policy"].decode().split("; "))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) <= {"'self'", "'none'"}
    assert (policy["base-uri"], policy["frame-ancestors"], policy["form-action"]) == ("'none'", "'none'", "'self'")
    assert set(SECURITY) <= set(made.headers) & set(to("/").headers)


async def test_a_visitor_without_a_session_has_none_to_end() -> None:
    made = await page("problem.html", 404, visitor=Visitor("console"), error=ERROR)
    assert Page(made.body.decode()).forms == []


def test_static_files_are_two_and_nothing_leads_to_others() -> None:
    for name, kind in (("console.css", b"text/css"), ("console.js", b"text/javascript")):
        found = static_file(name)
        assert found is not None
        assert dict(found.headers)[b"content-type"].startswith(kind)
        assert set(SECURITY) <= set(found.headers)
        assert b"http" not in found.body, "they refer to no other host"
    for name in ("", ".", "..", "../pages.py", "console.CSS", "console.css/", "../templates/base.html", "\x00"):
        assert static_file(name) is None
    assert CONSOLE_STATIC == "/console/static/"


def test_pages_follow_the_systems_light_or_dark_and_show_where_the_keyboard_is() -> None:
    found = static_file("console.css")
    assert found is not None
    rules = found.body.decode()
    light, dark = rules.split("@media (prefers-color-scheme: dark)")
    colours = set(re.findall(r"(--[a-z]+):", light))
    assert colours, "each colour has a name"
    assert colours == set(re.findall(r"(--[a-z]+):", dark.partition("\n}\n")[0]))
    assert "color-scheme: light dark" in light
    assert ":focus-visible { outline:" in dark
