"""What every fault costs, row by row of the fault catalogue, and which test says so.

0 nothing; U by the upstream's usage; e by an estimate; ? nothing known, the reservation is held. T: token-billed,
P: a paid item. Where no class is named the row is the same for both. Tests without a path are this file's.

row  bill     test
1    0        e2e/test_policy_reaching.py::test_every_port_closed
2    0        e2e/test_policy_reaching.py::test_no_name_resolves
3    0        e2e/test_policy_reaching.py::test_every_certificate_wrong
4    0        e2e/test_policy_reaching.py::test_no_port_answers upstream/test_shortage.py::test_a_process_without_descriptors
5    T 0      e2e/test_policy_reaching.py::test_a_kept_connection_that_was_closed_is_replaced_once_at_the_same_host
5    P ?      test_a_kept_connection_that_breaks_under_an_order
7-10 T 0      e2e/test_policy_table.py::test_played_by_all
7-10 P 0      test_what_a_dear_image_costs
11   T 0      e2e/test_policy_table.py::test_played_by_all
11   P ?      test_what_a_dear_image_costs
12-16 T 0     e2e/test_policy_table.py::test_played_once
12-16 P 0     test_what_a_dear_image_costs
17,18 T 0     e2e/test_policy_table.py::test_played_by_all
17,18 P ?     test_what_a_dear_image_costs e2e/test_image_costs.py::test_a_status_that_is_an_error
19   0        e2e/test_policy_table.py::test_played_by_all test_what_a_dear_image_costs
20   T 0      e2e/test_policy_table.py::test_played_by_all
20   P ?      test_what_a_dear_image_costs
21,22,24 ?    e2e/test_policy_table.py::test_played_by_all test_what_a_dear_image_costs
23,26 inner   e2e/test_policy_table.py::test_played_by_all test_what_a_dear_image_costs
25   0        e2e/test_policy_table.py::test_played_by_all
27,28 T 0     e2e/test_policy_table.py::test_played_by_all e2e/test_stream_breaks.py::test_before_content_are_invisible
27,28 P ?     test_what_a_dear_image_costs
29,31 e       e2e/test_policy_table.py::test_played_after_content e2e/test_bill_phases.py::test_of_a_chat
30   U/e      test_what_is_odd_about_a_whole_stream_costs_nothing_more
32   e        e2e/test_streams.py::test_is_counted_where_the_upstream_sends_none
33-35 U       test_what_is_odd_about_a_whole_stream_costs_nothing_more
36-38,40 e    e2e/test_policy_table.py::test_played_after_content
37   0 0 e U  e2e/test_stream_breaks.py::test_after_content_ends_the_stream_with_an_error e2e/test_streams.py::test_a_finished_answer_that_stays_open_is_ended_after_a_grace
39   ?        e2e/test_policy_table.py::test_played_by_all test_what_a_dear_image_costs
41   0        e2e/test_clients_leaving.py::test_while_the_upstream_is_dialled
42   T e      e2e/test_clients_leaving.py::test_pays_for_the_question
42   P        e2e/test_bill_phases.py::test_from_gpt_4o_image (it runs to its end and is charged)
43   U/e      e2e/test_bill_phases.py::test_from_a_chat e2e/test_clients_leaving.py::test_what_takes_longer_is_cut_off_and_estimated
44   e        e2e/test_slow_clients.py::test_that_take_nothing_at_all_are_cut_off_and_pay_for_what_ran
45   0        e2e/test_slow_clients.py::test_a_body_that_stops_coming_is_answered_408
46-49 0       test_what_we_refuse_ourselves_leaves_no_row
50   once     test_an_sdk_does_not_buy_again_what_is_in_doubt test_an_sdk_that_loses_patience_is_given_what_it_started
52   U/e      e2e/test_own_endings.py::test_shutting_down_cuts_a_stream_off_in_an_orderly_way
53   exact    process/test_soak_kills.py::test_thirty_kills_lose_nothing_and_double_nothing
62   0        upstream/test_shortage.py::test_every_shortage_is_our_own
63   ?        e2e/test_flux_hosts.py::test_is_never_made_twice_when_more_is_at_stake
64   U        e2e/test_flux_tasks.py::test_is_created_once_asked_after_and_charged_by_its_points e2e/test_bill_phases.py::test_of_a_task
65   once     e2e/test_task_webhooks.py::test_what_it_says_is_not_believed
66   U        e2e/test_image_results.py::test_for_ever_costs_a_task_its_points
67   0        test_what_we_refuse_ourselves_leaves_no_row
68   limit    process/test_soak_budget.py::test_a_crowd_of_four_processes_overspends_nothing
"""  # noqa: E501

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.core.pricing.budgets import BudgetState
from soak.books import rows_after

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Answer, Rig, eventually
from .raw_orders import IMAGE, TABLE, order, orders_asked

HIGH = TABLE["high"]["1024x1024"]
"""Nano-dollars that a dear image may cost: too much to be tried again in doubt."""

BUDGETED = f"""
keys: [{{name: alice, team: growth, key: {ALICE}, budget: 0.30/day}}]
upstreams:
  piapi:
    keys: [{{name: first, value: sk-piapi-aaabbbcccdddeeefff}}, {{name: second, value: sk-piapi-second-hhhiiijjjkkk}}]
"""
"""Enough for one dear image, not for two."""


def test_every_test_of_the_table_exists() -> None:
    folder = Path(__file__).parent.parent
    assert __doc__ is not None
    named = re.findall(r"(\S+\.py)?(?:::)?\b(test_\w+)\b(?!\.py)", __doc__)
    assert len(named) > 50
    for file, test in named:
        text = (folder / file if file else Path(__file__)).read_text(encoding="utf-8")
        assert re.search(rf"def {test}\(", text), f"{file}::{test}"


def the_budget(rig: Rig) -> BudgetState:
    services = rig.gateway.services
    [state] = services.budgets.budgets.states(services.clock.wall_ns())
    return state


async def dear_image(rig: Rig, **fields: Any) -> Answer:
    return await order(rig, model="gpt-image-1", quality="high", size="1024x1024", **fields)


@pytest.mark.parametrize(
    ("row", "bill", "scenario"),
    [
        (7, "0", "key_invalid"),
        (8, "0", "key_unfunded"),
        (8, "0", "insufficient_quota"),
        (9, "0", "key_forbidden"),
        (9, "0", "waf_block"),
        (10, "0", "model_missing"),
        (11, "?", "upstream_408"),
        (12, "0", "conflict"),
        (13, "0", "too_large"),
        (14, "0", "rejected"),
        (14, "0", "unprocessable"),
        (14, "0", "moderation_blocked"),
        (15, "0", "rate_limited;retry_after=30"),
        (16, "0", "rate_limited_bare"),
        (16, "0", "rate_limited_garbage"),
        (17, "?", "server_error"),
        (18, "?", "bad_gateway"),
        (18, "?", "overloaded"),
        (18, "?", "gateway_timeout"),
        (19, "0", "cf_origin_down"),
        (20, "?", "cloudflare;code=520"),
        (20, "?", "cf_json"),
        (21, "?", "cf_524"),
        (21, "?", "wall;seconds=0.1"),
        (22, "?", "html_200"),
        (22, "?", "garbage"),
        (22, "?", "big_head"),
        (23, "0", "soft_error;code=401"),
        (23, "0", "soft_error;code=400"),
        (23, "?", "soft_error;code=500"),
        (24, "?", "bad_json"),
        (24, "?", "truncated_json"),
        (24, "?", "empty_body"),
        (39, "?", "gzip"),
        (39, "?", "bomb;mib=16"),
    ],
)
async def test_what_a_dear_image_costs(row: int, bill: str, scenario: str, gateway: StartGateway) -> None:
    """Whoever is asked plays it. Nothing is charged in any case; in doubt the reservation stays, and nobody else is
    asked.
    """
    rig = await gateway(BUDGETED)
    rig.for_all_roles(scenario)

    answer = await dear_image(rig)

    assert answer.status >= 400
    assert answer.header("x-should-retry") == ("true" if answer.status == 429 else "false")
    await check_bill(rig, bill)


@pytest.mark.parametrize(
    ("row", "bill", "scenario"),
    [
        (26, "0", "sse_error_first;code=400"),
        (26, "?", "sse_error_first"),
        (26, "?", "sse_error_string"),
        (27, "?", "sse_empty"),
        (27, "?", "sse_only_done"),
        (28, "?", "cut;after_events=0"),
        (28, "?", "cut;after_events=0;reset=1"),
        (36, "?", "huge_event;after_events=0;size=40000000"),
        (40, "?", "bad_event;after_events=0"),
    ],
)
async def test_what_a_dear_image_that_is_streamed_costs(
    row: int, bill: str, scenario: str, gateway: StartGateway
) -> None:
    rig = await gateway(BUDGETED)
    rig.for_all_roles(scenario)

    answer = await dear_image(rig, stream=True)

    assert answer.status >= 400
    await check_bill(rig, bill)


async def check_bill(rig: Rig, bill: str) -> None:
    """``0``: all is given back, and whoever may be asked was. ``?``: it is held, and one upstream was asked once."""
    row = await rig.row()
    assert row.charged == 0
    if bill == "0":
        assert (row.state, row.upstream_cost) == ("released", 0)
        assert the_budget(rig).reserved == 0
    else:
        assert (row.state, row.confidence, row.costs) == ("unknown", "unknown", [(HIGH, "unknown")])
        assert orders_asked(rig) == ["api"]
        assert the_budget(rig).reserved >= HIGH
    assert the_budget(rig).charged == 0


async def test_what_is_in_doubt_leaves_no_room_for_another(gateway: StartGateway) -> None:
    rig = await gateway(BUDGETED)
    rig.sandbox.script("cf_524;bought=1", role="api")
    assert (await dear_image(rig)).error()["code"] == "upstream_outcome_unknown"

    refused = await dear_image(rig)

    assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
    assert orders_asked(rig) == ["api"]


async def test_a_kept_connection_that_breaks_under_an_order(gateway: StartGateway) -> None:
    """Row 5: what may have been bought is not ordered again on a fresh connection."""
    rig = await gateway(BUDGETED.replace("0.30", "1"))
    assert (await dear_image(rig)).status == 200
    rig.sandbox.script("reset_before_head", role="api")

    answer = await dear_image(rig)

    assert (answer.status, answer.error()["code"]) == (504, "upstream_outcome_unknown")
    _, row = await rig.rows(2)
    assert (row.outcomes, row.state, row.charged) == (["reused_conn_reset"], "unknown", 0)
    assert row.costs == [(HIGH, "unknown")]
    assert orders_asked(rig) == ["api", "api"]


ODD = (
    *("no_done", "bytewise", "trickle;size=7", "crlf", "cr", "no_space", "multi_data", "bom", "u2028", "comments"),
    *("odd_done", "usage_mixed", "usage_everywhere", "trailers", "informational"),
)


async def test_what_is_odd_about_a_whole_stream_costs_nothing_more(rig: Rig) -> None:
    """Rows 30 and 33 to 35: the upstream's own usage counts, to the nano-dollar of its bill."""
    for scenario in ODD:
        rig.sandbox.script(scenario, role="api")
        assert (await rig.chat(stream=True)).complete
    await rig.sandbox.until_idle()
    rows = await rig.rows(len(ODD))
    assert [row.confidence for row in rows] == ["measured"] * len(ODD)
    assert [row.charged for row in rows] == [line.amount for line in rig.sandbox.bill]


async def test_what_we_refuse_ourselves_leaves_no_row(gateway: StartGateway) -> None:
    """Rows 46 to 49 and 67: before anything is reserved."""
    rig = await gateway("{limits: {body: 64KiB}, default_route: []}")
    answers = [
        await rig.post(b'{"model": "gpt-4o", "messages": ['),
        await rig.post(b'{"model": "gpt-4o", "model": "gpt-4o-mini", "messages": []}'),
        await rig.post(b'{"model": "gpt-4o", "messages": [], "temperature": NaN}'),
        await rig.post(b"[" * 20_000),
        await rig.chat(model="no-such-model"),
        await rig.chat(messages="hello"),
        await rig.chat(messages=[{"role": "user", "content": "word " * 20_000}]),
        await rig.chat(key="gw-nobody-000111222333444"),
        await rig.chat(key=None),
        await rig.chat(headers={"x-long": "h" * 40_000}),
        await order(rig, n=0),
        await order(rig, prompt=""),
    ]
    assert [answer.status for answer in answers] == [400, 400, 400, 400, 404, 400, 413, 401, 401, 431, 400, 400]
    assert rows_after(rig.folder, 0) == ([], 0)
    assert rig.sandbox.requests == []


class TestReSendsOfTheSdk:
    """Row 50: what is not to be sent again is not; what is paid for and sent again is bought once."""

    async def test_an_sdk_does_not_buy_again_what_is_in_doubt(self, rig: Rig) -> None:
        rig.for_all_roles("cf_524;bought=1")
        with pytest.raises(openai.InternalServerError):
            await rig.openai(max_retries=3).images.generate(model="gpt-image-1", prompt=PROMPT, quality="high")
        row = await rig.row()
        assert (row.state, row.charged) == ("unknown", 0)
        assert orders_asked(rig) == ["api"]
        assert len(rig.sandbox.bill) == 1

    async def test_an_sdk_that_loses_patience_is_given_what_it_started(self, rig: Rig) -> None:
        """It is told in time that the image is still being made; its re-sends join that, and pay nothing."""
        rig.sandbox.script("stall_head;seconds=1", model="gpt-4o-image")
        sdk = rig.openai(max_retries=6, timeout=0.4)
        await asyncio.wait_for(sdk.images.generate(model="gpt-4o-image", prompt=PROMPT, response_format="url"), 20)
        await eventually(lambda: rig.gateway._store.ledger.pending == 0, "nothing owed to the ledger")
        first, *joined = await rig.at_least(2)
        assert (first.state, first.charged, first.images, first.status) == ("settled", IMAGE, 1, 200)
        assert {(row.state, row.charged, row.images) for row in joined} == {("settled", 0, 0)}
        assert joined[-1].status == 200
        assert [line.amount for line in rig.sandbox.bill] == [IMAGE]

    async def test_a_chat_that_was_given_up_is_charged_for_its_question_only(self, rig: Rig) -> None:
        rig.sandbox.script("stall_head")
        sdk = rig.openai(max_retries=1, timeout=0.4)
        await sdk.chat.completions.create(model="gpt-4o", messages=json.loads('[{"role": "user", "content": "hi"}]'))
        given_up, served = await rig.rows(2)
        assert (given_up.outcomes, given_up.status, given_up.output_tokens) == (["client_gone_wait"], 499, 0)
        assert given_up.charged == given_up.input_tokens * 1_875 > 0
        assert (served.confidence, served.charged) == ("measured", rig.sandbox.billed)
