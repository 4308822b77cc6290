"""The failover policy on every relayed route: the same faults as a chat's, the same next hosts, the same errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .faults import AFTER_CONTENT, REACHING, STATUSES, STREAMS, TWO_KEYS, Fault
from .harness import Answer, merged
from .relays import COMPLETIONS, EVENTS, KINDS, PRICED, SPEECH, SPEECHES, SUBTITLES, Kind
from .test_policy_table import ASKED, ATTEMPTS, FAILOVERS, check_told

BEFORE_THE_FIRST = [
    replace(fault, scenario=f"{fault.scenario.partition(';')[0]};after_events=0")
    for fault in STREAMS
    if fault.scenario in ("sse_error_string", "sse_error_first", "huge_event", "flood", "drip")
    or fault.scenario.startswith(("cut_early", "bad_event"))
] + [fault for fault in STREAMS if fault.scenario in ("sse_empty", "sse_only_done", "stall_before_content")]
"""Rows 26 to 28, 36, 37 and 40: these streams begin with content, so that what goes wrong before it is the first."""

ALWAYS = [fault for fault in (*REACHING, *STATUSES) if fault.slug != "stall_head"]
STALL = next(fault for fault in REACHING if fault.slug == "stall_head")
AT_ONCE = [kind for kind in KINDS if kind.streams or kind.name in ("embeddings", "moderation")]
"""Kinds whose head comes soon, so that a silence before it is a fault; the others may work for minutes."""

PLAYED = [
    *((kind, fault) for kind in KINDS for fault in ALWAYS),
    *((kind, STALL) for kind in AT_ONCE),
    *((kind, fault) for kind in EVENTS for fault in BEFORE_THE_FIRST),
]


def configured(fault: Fault) -> str:
    document = merged(read_yaml(PRICED), read_yaml(TWO_KEYS))
    text: str = write_yaml(merged(document, read_yaml(fault.config) or {}))
    return text


def is_whole(kind: Kind, answer: Answer) -> bool:
    """Whether a client got all that it asked for."""
    if not answer.complete or b'"error"' in answer.body:
        return False
    if kind is COMPLETIONS:
        return answer.payloads[-1] == b"[DONE]"
    if kind.events:
        return b".done" in answer.payloads[-1]
    return bool(answer.body)


@pytest.mark.parametrize(("kind", "fault"), PLAYED, ids=str)
async def test_played_once(kind: Kind, fault: Fault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault))
    rig.sandbox.script(fault.scenario, role="api")

    answer = await kind.ask(rig, headers={"x-request-id": "story-0001"})

    assert answer.header("x-request-id") == "story-0001"
    await rig.sandbox.until_idle()
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, endpoint=rig.sandbox.urls["api"], outcome=fault.slug) == 1
    row = await rig.row()
    if fault.next == "nobody":
        check_told(fault, answer)
        assert [request.role for request in rig.sandbox.requests] == ["api"]
        assert (row.state, row.charged, row.outcomes) == ("released", 0, [fault.slug])
        return
    assert answer.status == 200
    assert is_whole(kind, answer)
    assert [request.role for request in rig.sandbox.requests] == ASKED[fault.next][:2]
    upstream = "backup" if fault.next == "backup" else "piapi"
    assert (answer.header("x-gateway-upstream"), answer.header("x-gateway-attempts")) == (upstream, "2")
    assert figures.total(FAILOVERS) == (0 if fault.next == "other key" else 1)
    assert row.outcomes == [fault.slug, "ok"]
    assert (row.state, row.status) == ("settled", 200)
    assert row.confidence == ("estimated" if kind is SUBTITLES else "measured")
    (paid,) = [line.amount for line in rig.sandbox.bill if line.number == 1]
    assert row.charged == paid
    assert (row.costs[0][0] > 0) == (fault.doubtful and kind.priced)


BY_ALL = [fault for fault in ALWAYS if fault.scenario in ("reset_before_head", "rate_limited;retry_after=30")]
BY_ALL += [fault for fault in STATUSES if fault.scenario in ("key_invalid", "server_error", "cf_524", "html_200")]


@pytest.mark.parametrize("fault", BY_ALL, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_played_by_all(kind: Kind, fault: Fault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault))
    rig.for_all_roles(fault.scenario)

    answer = await kind.ask(rig)

    check_told(fault, answer)
    assert [request.role for request in rig.sandbox.requests] == ASKED[fault.next]
    row = await rig.row()
    assert (row.charged, row.status) == (0, fault.told[0])
    assert row.outcomes == [fault.slug] * len(ASKED[fault.next])


LATE = [
    (kind, fault)
    for kind in EVENTS
    for fault in AFTER_CONTENT
    if fault.slug in ("sse_cut_late", "sse_truncated", "sse_bad_event", "sse_error_first", "upstream_5xx", "stall_idle")
    and not (kind is SPEECHES and fault.slug == "stall_idle")
]


@pytest.mark.parametrize(("kind", "fault"), LATE, ids=str)
async def test_events_that_go_wrong_after_content(kind: Kind, fault: Fault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault))
    rig.sandbox.script(fault.scenario.replace("after_events=4", "after_events=2"), role="api")

    answer = await kind.ask(rig, input="word " * 40 if kind is SPEECHES else None)

    error = answer.stream_error()
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_stream_interrupted")
    assert [request.role for request in rig.sandbox.requests] == ["api"]
    row = await rig.row()
    assert row.outcomes == [fault.slug]
    assert (row.state, row.confidence, row.status) == ("settled", "estimated", 502)
    assert row.charged > 0


@pytest.mark.parametrize("scenario", ["cut", "rst", "cut_bytes;at=9000"])
async def test_a_sound_that_breaks_off_is_cut_and_paid_for_as_far_as_it_came(
    scenario: str, gateway: StartGateway
) -> None:
    rig = await gateway(PRICED)
    rig.sandbox.script(scenario, role="api")
    text = "word " * 40

    answer = await SPEECH.ask(rig, input=text)

    assert answer.status == 200
    assert not answer.complete
    assert b"error" not in answer.body
    assert [request.role for request in rig.sandbox.requests] == ["api"]
    row = await rig.row()
    assert row.outcomes == ["sse_cut_late"]
    assert 0 < row.charged < len(text) * 15_000


async def test_a_sound_that_falls_silent_is_cut(gateway: StartGateway) -> None:
    rig = await gateway(str(write_yaml(merged(
        read_yaml(PRICED), {"upstreams": {"piapi": {"timeouts": {"idle": "300ms"}}}}
    ))))  # fmt: skip
    rig.sandbox.script("slow;delay=1000", role="api")

    answer = await SPEECH.ask(rig, input="word " * 40)

    assert not answer.complete
    assert (await rig.row()).outcomes == ["stall_idle"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.streams], ids=str)
async def test_a_whole_answer_that_breaks_off_is_asked_for_elsewhere(kind: Kind, gateway: StartGateway) -> None:
    rig = await gateway(PRICED)
    rig.sandbox.script("cut", role="api")
    answer = await kind.ask(rig)
    assert answer.status == 200
    assert is_whole(kind, answer)
    assert [request.role for request in rig.sandbox.requests] == ["api", "proxy"]
