"""What a stream says when it is folded, held against openai-python's own accumulator on the same bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import orjson
import pytest

from gateway.wire.chat_accumulator import ChatAccumulator
from gateway.wire.sse import DONE, encode_event

from .vendor_streams import STREAMS, Vendor

PICK = {"argvalues": STREAMS, "ids": [vendor.name for vendor in STREAMS]}


async def sdk_folds(vendor: Vendor) -> dict[str, Any]:
    """What openai-python makes of the stream, served over a socket."""
    body = b"".join(encode_event(orjson.dumps(chunk)) for chunk in vendor.chunks) + DONE

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0) as sdk,
        sdk.chat.completions.stream(model="m", messages=[{"role": "user", "content": "?"}]) as stream,
    ):
        try:
            completion: Any = await stream.get_final_completion()
        except openai.LengthFinishReasonError as cut_off:  # which it raises with the completion in it
            completion = cut_off.completion
    folded: dict[str, Any] = completion.to_dict(mode="json")
    return folded


def gateway_folds(vendor: Vendor) -> dict[str, Any]:
    accumulator = ChatAccumulator()
    for chunk in vendor.chunks:
        accumulator.add(orjson.loads(orjson.dumps(chunk)))
    return accumulator.result()


def meant(value: Any) -> Any:
    """A folded answer without what says nothing: nulls, empty texts and lists, and what only the SDK adds to it."""
    if isinstance(value, dict):
        kept = {name: meant(inner) for name, inner in value.items() if name not in ("parsed", "parsed_arguments")}
        return {name: inner for name, inner in kept.items() if inner not in (None, "", [], {})}
    return [meant(inner) for inner in value] if isinstance(value, list) else value


def compared(completion: dict[str, Any]) -> dict[str, Any]:
    """The choices, the usage and the names. A role that a vendor repeats in each chunk the SDK joins; fields beside the
    delta it only takes from the first chunk; of a call it keeps the index.
    """
    choices = []
    for choice in meant(completion["choices"]):
        message = {**choice["message"], "role": "assistant"}
        for call in message.get("tool_calls", ()):
            call.pop("index", None)
        choices.append(
            {name: choice.get(name) for name in ("index", "finish_reason", "logprobs")} | {"message": message}
        )
    choices.sort(key=lambda choice: choice.get("index") or 0)
    return {"choices": choices, **{name: completion.get(name) for name in ("id", "created", "model", "usage")}}


@pytest.mark.parametrize("vendor", **PICK)
async def test_a_stream_folds_as_openai_python_folds_it(vendor: Vendor):
    ours = gateway_folds(vendor)
    try:
        theirs = compared(await sdk_folds(vendor))
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, UserWarning):
        if not vendor.sdk_fault:
            raise
        return
    if vendor.right:
        assert compared(ours) != theirs  # or the corpus does the SDK wrong
    else:
        assert compared(ours) == theirs


@pytest.mark.parametrize("vendor", **PICK)
def test_what_the_sdk_spoils_is_right_here(vendor: Vendor):
    [choice, *_] = gateway_folds(vendor)["choices"]
    flat = {**choice["message"], "finish_reason": choice["finish_reason"]}
    if "tool_calls" in vendor.right:
        flat["tool_calls"] = [
            [call["id"], call["function"]["name"], call["function"]["arguments"]] for call in flat["tool_calls"]
        ]
    assert {name: flat.get(name) for name in vendor.right} == vendor.right
    assert bool(vendor.right) <= bool(vendor.sdk_fault)


def test_the_corpus_is_a_corpus():
    assert len(STREAMS) >= 25
    assert len({vendor.name for vendor in STREAMS}) == len(STREAMS)


def test_what_stands_beside_the_message_is_kept():
    folded = {vendor.name: gateway_folds(vendor) for vendor in STREAMS}
    assert folded["groq: x_groq first and last"]["x_groq"]["id"] == "req_1"
    assert folded["perplexity: a message beside the delta, citations in each"]["citations"] == ["https://a.example"]
    assert folded["openrouter: reasoning_details"]["choices"][0]["native_finish_reason"] == "end_turn"
    assert folded["vllm: both names, then a call"]["choices"][0]["stop_reason"] == 151645
    assert folded["azure: the prompt's filter first"]["prompt_filter_results"]
    assert folded["llama.cpp: content null first, timings last"]["timings"]["predicted_n"] == 7
    [signed, _] = folded["gemini: no ids, and a thought's signature"]["choices"][0]["message"]["tool_calls"]
    assert signed["extra_content"] == {"google": {"thought_signature": "S=="}}
    assert folded["together: the text twice, a token's number"]["choices"][0]["message"]["content"] == "Hello"
