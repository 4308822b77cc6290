"""A client's connection: one request after the other, breaches of HTTP, and Cloudflare's wall."""

from __future__ import annotations

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, STREAM, Client, ask


async def test_a_connection_serves_one_request_after_the_other(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    for content in (HELLO, STREAM):
        client.send(content)
    received = await client.receive_until(b"[DONE]\n\n\r\n0\r\n\r\n")
    client.send(HELLO, headers={"connection": "close"})
    last = await client.receive()
    await client.close()

    assert received.raw.count(b"HTTP/1.1 200 OK") == 2, "pipelined, answered in order"
    assert last.ending == "fin"
    assert [(request.connection, request.nth) for request in sandbox.requests] == [(1, 1), (1, 2), (1, 3)]


async def test_cloudflare_stands_before_the_api_only() -> None:
    async with Sandbox(roles=("api", "proxy"), wall=0.03) as sandbox:
        page = await ask(sandbox, STREAM, "stall_head")
        assert page.status == 524
        assert page.headers[b"server"] == b"cloudflare"
        assert page.body.startswith(b"<!DOCTYPE html>")

        broken = await ask(sandbox, STREAM, "stall_mid;after_events=2")
        assert broken.ending == "reset"
        assert broken.cut_body.count(b"data: ") == 2

        patient = await ask(sandbox, STREAM, "stall_head;seconds=0.06", role="proxy")
        assert patient.status == 200
        assert b"cf-ray" not in patient.headers
        assert [request.ending for request in sandbox.requests] == ["walled", "walled", "complete"]


async def test_life_signs_keep_cloudflare_waiting() -> None:
    """Any byte starts its patience anew (Cloudflare: the maximum time between two read operations)."""
    async with Sandbox(wall=0.2) as sandbox:
        received = await ask(sandbox, STREAM, "drip;interval=20;count=15")

    assert received.payloads[-1] == b"[DONE]"


async def test_a_client_that_breaks_http_is_told_and_noted(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    client.writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
    received = await client.receive()
    await client.close()

    assert received.status == 400
    assert received.ending == "fin"
    assert sandbox.protocol_errors == ["exactly one Host is needed (RFC 9112 §3.2)"]


async def test_a_client_that_asks_first_is_told_to_continue(sandbox: Sandbox) -> None:
    client = await Client.connect(sandbox)
    client.send(b"", headers={"expect": "100-continue"}, announce=2)
    await client.receive_until(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.writer.write(b"{}")
    received = await client.receive_until(b"}")
    await client.close()

    assert received.status == 400
