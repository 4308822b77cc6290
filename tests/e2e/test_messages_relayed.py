"""Anthropic's Messages API relayed to an upstream that has it: byte for byte, with the rules of a chat."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.raw_client import RawClient

from .claude import MODEL, PROMPT, SECOND_KEY, WEB_SEARCH, events, messages, relayed, words
from .conftest import StartGateway
from .faults import AFTER_CONTENT, BEFORE_CONTENT, REACHING, STATUSES, Fault, LateFault
from .harness import ALICE, PIAPI_KEY
from .test_messages import ERROR_TYPES, error_of
from .test_policy_table import ASKED


async def directly(sandbox: Sandbox, **fields: Any) -> bytes:
    """What the upstream itself sends for a request, without its id."""
    client = await RawClient.connect(sandbox.urls["proxy"])
    try:
        headers = {"x-api-key": "sk-of-nobody", "anthropic-version": "2023-06-01"}
        await client.ask(json.dumps(fields).encode(), None, headers, target="/v1/messages")
        return without_ids((await client.answer()).body)
    finally:
        await client.close()


def without_ids(body: bytes) -> bytes:
    return re.sub(rb"msg_sandbox-\d+", b"msg", body)


@pytest.mark.parametrize("scenario", ["ok", "ok;reasoning=3;calls=2", "ok;refusal=1", "comments;ids=0", "trickle"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_every_byte_of_the_answer_is_the_upstreams(
    stream: bool, scenario: str, sandbox: Sandbox, gateway: StartGateway
) -> None:
    rig = await gateway(relayed(sandbox))
    tools = [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]
    fields = {"model": MODEL, "max_tokens": 500, "messages": PROMPT, "stream": stream, "tools": tools}
    sandbox.script(scenario)
    answer = await messages(rig, stream=stream, tools=tools)
    assert answer.status == 200
    (asked,) = sandbox.requests
    assert (asked.path, asked.json) == ("/v1/messages", fields)
    sandbox.script(scenario.replace("comments;ids=0", "ok"))
    honest = await directly(sandbox, **fields)
    body = answer.body.replace(b": ping\n\n", b"") if scenario.startswith("comments") else answer.body
    assert without_ids(body) == honest
    row = await rig.row()
    assert row.charged == sandbox.bill[0].amount
    assert (row.state, row.confidence) == ("settled", "measured")
    assert row.charged > 0
    if not stream:
        assert answer.header("x-gateway-cost-usd") == f"{row.charged / 1e9:.9f}".rstrip("0")


class TestWhatGoesUpstream:
    async def test_the_pools_key_and_never_the_clients(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        await messages(rig, headers={"x-goog-api-key": "k", "cookie": "c=d", "anthropic-workspace": "w"})
        (asked,) = sandbox.requests
        assert asked.get(b"x-api-key") in (PIAPI_KEY.encode(), SECOND_KEY.encode())
        assert asked.get(b"authorization") is None
        assert ALICE.encode() not in b"".join(value for _, value in asked.headers)
        assert {name for name, _ in asked.headers} <= {
            *(b"host", b"content-type", b"accept", b"accept-encoding", b"user-agent", b"content-length"),
            *(b"x-api-key", b"anthropic-version"),
        }

    async def test_the_version_and_the_betas_of_the_client(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        await messages(rig, headers={"anthropic-version": "2023-01-01", "anthropic-beta": "one-2025-01-01, two"})
        await messages(rig, headers={"anthropic-version": ""})
        asked, usual = sandbox.requests
        assert asked.get(b"anthropic-version") == b"2023-01-01"
        assert asked.get(b"anthropic-beta") == b"one-2025-01-01, two"
        assert usual.get(b"anthropic-version") == b"2023-06-01"
        assert usual.get(b"anthropic-beta") is None

    @pytest.mark.parametrize("bad", ["one; two", "a" * 200, "x-api-key: k", ",".join("b" * 65)])
    async def test_a_header_that_is_no_list_of_names(self, bad: str, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        answer = await messages(rig, headers={"anthropic-beta": bad})
        assert answer.status == 400
        assert "anthropic-beta" in error_of(answer.json())["message"]
        assert sandbox.requests == []

    async def test_what_is_newer_than_the_gateway(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        rig = await gateway(relayed(sandbox))
        newer = {"brand_new": {"depth": [1, 2]}, "tools": [WEB_SEARCH], "mcp_servers": [], "speed": "fast"}
        answer = await messages(rig, **newer)
        assert answer.status == 200
        sent = sandbox.requests[0].json
        assert {name: sent[name] for name in newer} == newer

    async def test_what_would_choose_another_model_or_account_stays_here(
        self, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(relayed(sandbox))
        answer = await messages(rig, fallbacks=["x"], base_url="http://evil", user_profile_id="u", webhook_config={})
        assert answer.status == 200
        assert answer.header("x-gateway-note") == "ignored: fallbacks, base_url, webhook_config, user_profile_id"
        assert set(sandbox.requests[0].json) == {"model", "max_tokens", "messages"}

    @pytest.mark.parametrize(
        "fields",
        [
            {"container": "container_123"},
            {"container": {"id": "container_123"}},
            {"container": {"skills": [{"type": "custom", "skill_id": "skill_1", "version": "1"}]}},
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ]
            },
            {"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "file_1"}]}]},
        ],
        ids=["container", "container-id", "skill", "picture", "upload"],
    )
    async def test_what_an_account_has_is_nobodys_here(
        self, fields: dict[str, Any], sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        rig = await gateway(relayed(sandbox))
        answer = await messages(rig, **fields)
        assert answer.status == 404
        assert error_of(answer.json())["type"] == "not_found_error"
        assert sandbox.requests == []

    async def test_thoughts_of_another_kind_of_upstream_are_left_out(
        self, sandbox: Sandbox, gateway: StartGateway
    ) -> None:
        """A chat's answer told in this API's words has thoughts without a signature, which Anthropic refuses."""
        rig = await gateway(relayed(sandbox))
        thought = {"type": "thinking", "thinking": "Hm.", "signature": ""}
        signed = {"type": "thinking", "thinking": "Aha.", "signature": "sandbox-signature"}
        said = {"type": "text", "text": "Hello."}
        turns = [*PROMPT, {"role": "assistant", "content": [thought, signed, said]}, *PROMPT]
        answer = await messages(rig, messages=turns)
        assert answer.status == 200
        assert sandbox.requests[0].json["messages"][1]["content"] == [signed, said]

    async def test_the_targets_own_name_of_the_model(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        targets = f"[{{upstream: claude, model: {MODEL}, price: {{input: 2.25, output: 11.25}}}}]"
        rig = await gateway(relayed(sandbox, f"models: {{sonnet: {{targets: {targets}}}}}"))
        answer = await messages(rig, model="sonnet")
        assert sandbox.requests[0].json["model"] == MODEL
        assert answer.json()["model"] == MODEL
        assert (await rig.row()).model == "sonnet"


PLAYED = [(fault, True) for fault in BEFORE_CONTENT]
PLAYED += [(fault, False) for fault in (*REACHING, *STATUSES) if fault.slug != "stall_head"]
"""A whole answer has no events, and may be silent for minutes."""


@pytest.mark.parametrize(("fault", "stream"), PLAYED, ids=str)
async def test_a_fault_before_content_is_not_seen(
    fault: Fault, stream: bool, sandbox: Sandbox, gateway: StartGateway
) -> None:
    rig = await gateway(relayed(sandbox, fault.config))
    sandbox.script(fault.scenario, role="api")
    answer = await messages(rig, stream=stream)
    await sandbox.until_idle()
    row = await rig.row()
    if fault.next == "nobody":
        assert answer.status == fault.told[0]
        assert error_of(answer.json())["type"] == ERROR_TYPES[answer.status]
        assert [request.role for request in sandbox.requests] == ["api"]
        assert (row.outcomes, row.state, row.charged) == ([fault.slug], "released", 0)
        return
    assert answer.status == 200
    assert [request.role for request in sandbox.requests] == ASKED[fault.next][:2]
    assert answer.header("x-gateway-upstream") == ("reserve" if fault.next == "backup" else "claude")
    assert words(answer).endswith(PROMPT[0]["content"])
    if stream:
        assert events(answer)[-1]["type"] == "message_stop"
        assert [event["type"] for event in events(answer)].count("message_start") == 1
    assert (row.outcomes, row.state, row.confidence) == ([fault.slug, "ok"], "settled", "measured")
    assert row.charged == sandbox.bill[-1].amount
    assert (row.costs[0][0] > 0) == fault.doubtful


@pytest.mark.parametrize("fault", [fault for fault in BEFORE_CONTENT if fault.next != "nobody"], ids=str)
async def test_a_fault_of_all_is_told_as_anthropic_tells_it(
    fault: Fault, sandbox: Sandbox, gateway: StartGateway
) -> None:
    rig = await gateway(relayed(sandbox, fault.config))
    rig.for_all_roles(fault.scenario)
    answer = await messages(rig, stream=True)
    assert answer.status == fault.told[0]
    assert error_of(answer.json())["type"] == ERROR_TYPES[answer.status]
    assert answer.header("retry-after") == fault.retry_after
    assert [request.role for request in sandbox.requests] == ASKED[fault.next]
    assert (await rig.row()).charged == 0


@pytest.mark.parametrize("fault", AFTER_CONTENT, ids=str)
async def test_a_stream_that_breaks_off_ends_in_an_error(
    fault: LateFault, sandbox: Sandbox, gateway: StartGateway
) -> None:
    rig = await gateway(relayed(sandbox, fault.config))
    sandbox.script(fault.scenario, role="api")
    answer = await messages(rig, stream=True)
    assert answer.status == 200
    told = events(answer)
    assert "message_stop" not in [event["type"] for event in told]
    assert error_of(told[-1])["type"] == "api_error"
    assert [request.role for request in sandbox.requests] == ["api"]
    row = await rig.row()
    assert (row.outcomes, row.state, row.status, row.confidence) == ([fault.slug], "settled", 502, "estimated")
    assert row.charged > 0


ODD_BUT_SOUND = (
    *("crlf", "cr", "no_space", "multi_data", "bom", "bytewise", "comments", "trickle", "until_close", "trailers"),
    *("no_done", "drip;interval=1;count=3", "silent_close", "stall_mid;seconds=0.05", "whole_json", "informational"),
    *("ok;reasoning=2", "ok;text=u2028"),
)
"""Streams that say what they should, as the table's rows 30 and 33 to 35 have them; and a document in place of one."""


@pytest.mark.parametrize("scenario", ODD_BUT_SOUND)
async def test_a_stream_in_another_frame_says_the_same(scenario: str, sandbox: Sandbox, gateway: StartGateway) -> None:
    rig = await gateway(relayed(sandbox))
    sandbox.script("ok;text=u2028" if "u2028" in scenario else "ok")
    honest = await messages(rig)
    sandbox.script(scenario)
    answer = await messages(rig, stream=True)
    assert answer.status == 200
    assert words(answer) == words(honest)
    assert events(answer)[-1]["type"] == "message_stop"
    one, other = await rig.rows(2)
    assert one.confidence == other.confidence == "measured"
    assert other.output_tokens == one.output_tokens + (2 if "reasoning" in scenario else 0)
    assert [row.outcomes for row in (one, other)] == [["ok"], ["ok"]]


async def test_a_client_that_leaves_pays_for_what_ran(sandbox: Sandbox, gateway: StartGateway) -> None:
    rig = await gateway(relayed(sandbox))
    sandbox.script("ok;delay=20;chunks=30")
    async with rig.client() as client:
        asked = {"model": MODEL, "max_tokens": 500, "messages": PROMPT, "stream": True}
        await client.ask(json.dumps(asked).encode(), None, {"x-api-key": ALICE}, target="/v1/messages")
        await client.head()
        await client.leave()
    row = await rig.row()
    assert (row.input_tokens, row.output_tokens, row.confidence) == (12, 30, "measured")
    assert row.charged == sandbox.bill[0].amount
