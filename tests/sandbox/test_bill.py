"""The sandbox's own bill: what was delivered, at PiAPI's and OpenAI's prices, to the nano-dollar."""

from __future__ import annotations

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.answers import Role, Sale
from gateway.sandbox.bill import amount, token_price

from .client import HELLO, STREAM, Client, ask


@pytest.mark.parametrize(
    ("role", "sale", "expected"),
    [
        ("api", Sale("gpt-4o", 1000, 0, 100), 1000 * 1875 + 100 * 7500),
        ("proxy", Sale("gpt-4o", 1000, 400, 100), 1000 * 1875 + 100 * 7500),
        ("backup", Sale("gpt-4o", 1000, 400, 100), 600 * 2500 + 400 * 1250 + 100 * 10_000),
        ("api", Sale("gpt-4o-mini", 1, 0, 0), 113),  # 112.5 rounded half up
        ("api", Sale("gpt-4o-mini", 2, 0, 0), 225),
        ("api", Sale("gpt-4o-mini-2024-07-18", 2, 0, 0), 225),
        ("api", Sale("claude-sonnet-4-20250514", 4, 0, 4), 4 * 2250 + 4 * 11_250),
        ("api", Sale("gpt-unheard-of", 4, 0, 4), None),
        ("api", Sale("unheard-of", images=1, flat=True), None),
    ],
)
def test_prices(role: Role, sale: Sale, expected: int | None) -> None:
    assert amount(role, sale, sale.output_tokens, sale.images) == expected


def test_a_name_that_only_begins_alike_has_no_price() -> None:
    assert token_price("api", "gpt-4o-2024-08-06") == token_price("api", "gpt-4o")
    assert token_price("api", "gpt-4o-audio") is None


async def test_whole_answers_are_billed_by_their_usage(sandbox: Sandbox) -> None:
    usage = (await ask(sandbox, HELLO, key="sk-one")).json["usage"]
    await ask(sandbox, STREAM, key="sk-two")

    whole, streamed = sandbox.bill
    assert (whole.input_tokens, whole.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (whole.key, streamed.key) == ("sk-one", "sk-two")
    assert (whole.number, streamed.number) == (0, 1)
    assert whole.request_id == sandbox.requests[0].id
    assert whole.amount == streamed.amount == 9 * 1875 + 15 * 7500
    assert sandbox.billed == 2 * whole.amount
    assert "sk-one" not in repr(whole)
    assert "sk-one" not in repr(sandbox.requests[0])


async def test_a_cut_stream_is_billed_by_what_was_sent(sandbox: Sandbox) -> None:
    await ask(sandbox, STREAM, "cut;after_events=4")

    assert [(line.input_tokens, line.output_tokens, line.whole) for line in sandbox.bill] == [(9, 3, False)]


@pytest.mark.parametrize(
    "scenario", ["server_error", "cut_early", "reset_before_head", "sse_error_first", "sse_empty", "html_200", "cf_524"]
)
async def test_what_delivers_nothing_costs_nothing_unless_it_was_bought(sandbox: Sandbox, scenario: str) -> None:
    await ask(sandbox, STREAM, scenario)
    assert sandbox.bill == []

    await ask(sandbox, STREAM, f"{scenario};bought=1")
    assert [line.output_tokens for line in sandbox.bill] == [15]


async def test_a_client_that_leaves_pays_for_what_was_sent(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    client.send(STREAM, "stall_mid;after_events=3")
    await client.receive_events(3)
    await client.close()
    await sandbox.until_idle()

    assert [(line.output_tokens, line.whole) for line in sandbox.bill] == [(2, False)]


async def test_a_model_without_a_price_is_on_the_bill_without_an_amount(sandbox: Sandbox) -> None:
    await ask(sandbox, {**HELLO, "model": "gpt-4-gizmo-g-abc"})

    assert [line.amount for line in sandbox.bill] == [None]
    assert sandbox.billed == 0


async def test_only_so_much_is_remembered_but_the_sum_is_whole() -> None:
    async with Sandbox(history=4) as sandbox:
        for _ in range(9):
            await ask(sandbox, HELLO)

        assert len(sandbox.requests) <= 4
        assert len(sandbox.bill) <= 4
        assert sandbox.requests[-1].number == 8
        assert sandbox.billed == 9 * (sandbox.bill[0].amount or 0)
