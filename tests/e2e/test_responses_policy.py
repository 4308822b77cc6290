"""The failover policy on relayed responses, and where a chat stands in for them: the same faults as a chat's, the same
next hosts, the same errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .faults import AFTER_CONTENT, TWO_KEYS, Fault
from .harness import PROMPT, Answer, Rig, merged
from .test_policy_table import ASKED, ATTEMPTS, FAILOVERS, check_told
from .test_relays_policy import ALWAYS, BY_ALL

MODELS = """
models:
  gpt-4.1:
    targets:
      - {upstream: piapi, operation: responses, price: {input: 1.50, output: 6.00}}
      - {upstream: backup, operation: responses, price: {input: 2.00, output: 8.00}}
  gpt-4o:
    targets:
      - {upstream: piapi, operation: responses, price: {input: 1.875, output: 7.50}}
      - {upstream: backup, price: {input: 2.50, output: 10.00}}
"""


@dataclass(frozen=True)
class Kind:
    """A request. ``model``: of targets that all relay it, or of one that does before one that is asked by a chat."""

    name: str
    model: str
    streams: bool = False

    def __str__(self) -> str:
        return self.name

    async def ask(self, rig: Rig) -> Answer:
        body = {"model": self.model, "input": PROMPT, "stream": self.streams}
        return await rig.post(json.dumps(body).encode(), target="/v1/responses")


WHOLE, EVENTS = Kind("whole", "gpt-4.1"), Kind("events", "gpt-4.1", streams=True)
WHOLE_OR_CHAT, EVENTS_OR_CHAT = Kind("whole-or-chat", "gpt-4o"), Kind("events-or-chat", "gpt-4o", streams=True)
KINDS = (WHOLE, EVENTS, WHOLE_OR_CHAT, EVENTS_OR_CHAT)


def configured(fault: Fault) -> str:
    document = merged(read_yaml(MODELS), read_yaml(TWO_KEYS))
    text: str = write_yaml(merged(document, read_yaml(fault.config) or {}))
    return text


def check_whole(kind: Kind, answer: Answer) -> None:
    """The client got all that it asked for, of one response alone."""
    assert answer.status == 200
    if not kind.streams:
        assert answer.json()["status"] == "completed"
        return
    events = [json.loads(payload) for payload in answer.payloads]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events][:2] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1


@pytest.mark.parametrize("fault", ALWAYS, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_played_once(kind: Kind, fault: Fault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault))
    rig.sandbox.script(fault.scenario, role="api")

    answer = await kind.ask(rig)

    await rig.sandbox.until_idle()
    figures = await rig.figures()
    assert figures.total(ATTEMPTS, endpoint=rig.sandbox.urls["api"], outcome=fault.slug) == 1
    row = await rig.row()
    if fault.next == "nobody":
        check_told(fault, answer)
        assert [request.role for request in rig.sandbox.requests] == ["api"]
        assert (row.state, row.charged, row.outcomes) == ("released", 0, [fault.slug])
        return
    check_whole(kind, answer)
    assert [request.role for request in rig.sandbox.requests] == ASKED[fault.next][:2]
    upstream = "backup" if fault.next == "backup" else "piapi"
    assert (answer.header("x-gateway-upstream"), answer.header("x-gateway-attempts")) == (upstream, "2")
    assert figures.total(FAILOVERS) == (0 if fault.next == "other key" else 1)
    assert (row.outcomes, row.status, row.confidence) == ([fault.slug, "ok"], 200, "measured")
    (paid,) = [line.amount for line in rig.sandbox.bill if line.number == 1]
    assert row.charged == paid


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


LATE = [
    fault
    for fault in AFTER_CONTENT
    if fault.slug in ("sse_cut_late", "sse_truncated", "sse_bad_event", "sse_error_first", "upstream_5xx", "stall_idle")
]


@pytest.mark.parametrize("fault", LATE, ids=str)
@pytest.mark.parametrize("kind", [EVENTS, EVENTS_OR_CHAT], ids=str)
async def test_events_that_go_wrong_after_content(kind: Kind, fault: Fault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault))
    rig.sandbox.script(fault.scenario.replace("after_events=4", "after_events=6"), role="api")

    answer = await kind.ask(rig)

    events = [json.loads(payload) for payload in answer.payloads]
    assert events[-1]["type"] == "response.failed"
    assert "response.completed" not in [event["type"] for event in events]
    assert [request.role for request in rig.sandbox.requests] == ["api"]
    row = await rig.row()
    assert row.charged > 0
