"""A corpus of chat streams as vendors send them, written from their documentation and public reports; none is recorded.

Each says whether openai-python's own accumulator makes of it what was meant. Where it does not, ``sdk_fault`` says why,
and ``right`` has what was meant, by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Chunk = dict[str, Any]

HEAD: Chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1760339757, "model": "m"}
USAGE: Chunk = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


@dataclass(frozen=True)
class Vendor:
    """One stream. ``right``: the fields of the first choice that ``sdk_fault`` spoils, as they should be."""

    name: str
    chunks: list[Chunk]
    sdk_fault: str = ""
    right: Chunk = field(default_factory=dict)


def of(*choices: Chunk, **fields: Any) -> Chunk:
    """A chunk; ``fields`` are beside its choices."""
    return {**HEAD, **fields, "choices": list(choices)}


def said(index: int = 0, reason: str | None = None, /, *, beside: Chunk | None = None, **delta: Any) -> Chunk:
    """A choice with a delta; ``beside``: what else it has."""
    return {"index": index, "delta": delta, "finish_reason": reason, **(beside or {})}


def call(index: Any, arguments: Any, name: str | None = None, id: str | None = None, **more: Any) -> Chunk:
    """One entry of a delta's ``tool_calls``. ``index``: None for none."""
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    marks = {"index": index, "id": id, "type": "function" if name else None, **more}
    return {**{mark: value for mark, value in marks.items() if value is not None}, "function": function}


def texts(*pieces: str, name: str = "content") -> list[Chunk]:
    """A chunk for each piece of a field."""
    return [of(said(**{name: piece})) for piece in pieces]


ROLE = of(said(role="assistant", content=""))
STOP, CALLED = of(said(0, "stop")), of(said(0, "tool_calls"))
USED = of(usage=USAGE)
OSLO = '{"city":"Oslo"}'


def token(text: str) -> Chunk:
    return {"token": text, "logprob": -0.25, "bytes": list(text.encode()), "top_logprobs": []}


def logprobs(*tokens: str) -> Chunk:
    return {"logprobs": {"content": [token(text) for text in tokens], "refusal": None}}


OPENAI = [
    Vendor("openai: text", [ROLE, *texts("Hel", "lo"), STOP, USED]),
    Vendor("openai: obfuscated", [{**chunk, "obfuscation": "xYz", "service_tier": "default"} for chunk in
                                  (ROLE, *texts("Hel", "lo"), STOP, USED)]),
    Vendor("openai: a call", [
        of(said(role="assistant", content=None, tool_calls=[call(0, "", "weather", "call_1")])),
        *(of(said(tool_calls=[call(0, piece)])) for piece in ('{"ci', 'ty":', '"Oslo"}')),
        CALLED, USED,
    ]),
    Vendor("openai: text, then parallel calls", [
        ROLE, *texts("I ", "look."),
        of(said(tool_calls=[call(0, "", "weather", "call_1")])), of(said(tool_calls=[call(0, OSLO)])),
        of(said(tool_calls=[call(1, "", "time", "call_2")])), of(said(tool_calls=[call(1, '{"zone":"CET"}')])),
        CALLED, USED,
    ]),
    Vendor("openai: a refusal", [
        of(said(role="assistant", content=None, refusal="")), *texts("I ", "cannot.", name="refusal"), STOP, USED,
    ]),
    Vendor("openai: logprobs", [
        of(said(role="assistant", content="", beside={"logprobs": {"content": [], "refusal": None}})),
        of(said(content="ha", beside=logprobs("ha"))), of(said(content="ha", beside=logprobs("ha"))), STOP, USED,
    ]),
    Vendor("openai: n=2", [
        of(said(0, role="assistant", content="")), of(said(1, role="assistant", content="")),
        of(said(0, content="a")), of(said(1, content="b")), of(said(0, content="A")),
        of(said(1, "length")), of(said(0, "stop")), USED,
    ]),
    Vendor("openai: sound", [
        of(said(role="assistant", audio={"id": "audio_1", "transcript": "Hel"})),
        of(said(audio={"data": "AAAA"})), of(said(audio={"transcript": "lo"})), of(said(audio={"data": "BBBB"})),
        of(said(audio={"expires_at": 1760339999})), STOP, USED,
    ]),
    Vendor("openai: cut by the length", [ROLE, *texts('{"size": 1'), of(said(0, "length")), USED]),
    Vendor("openai: a search with annotations", [
        ROLE, *texts("See ", "there."),
        of(said(annotations=[{"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "a"}}])),
        STOP, USED,
    ]),
    Vendor("openai: the older function_call", [
        of(said(role="assistant", content=None, function_call={"name": "weather", "arguments": ""})),
        *(of(said(function_call={"arguments": piece})) for piece in ('{"city":', '"Oslo"}')),
        of(said(0, "function_call")), USED,
    ]),
    Vendor("azure: the prompt's filter first", [
        {"id": "", "object": "", "created": 0, "model": "", "choices": [],
         "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]},
        ROLE, *texts("Hel", "lo"), STOP, USED,
    ], "it passes over a chunk whose object is empty, filter results and all"),
]  # fmt: skip

REASONING = [
    Vendor("deepseek: reasoning_content", [
        of(said(role="assistant", content=None, reasoning_content="")),
        of(said(content=None, reasoning_content="h")), of(said(content=None, reasoning_content="m")),
        of(said(content="It ", reasoning_content=None)), of(said(content="is.", reasoning_content=None)),
        of(said(0, "stop", content="", reasoning_content=None), usage=USAGE),
    ]),
    Vendor("openrouter: reasoning_details", [
        *(of(said(role="assistant", content="", reasoning=piece, reasoning_details=[
            {"type": "reasoning.text", "text": piece, "format": "anthropic-claude-v1", "index": 0}]), provider="X")
          for piece in ("h", "m")),
        of(said(content="", reasoning_details=[
            {"type": "reasoning.text", "signature": "S==", "format": "anthropic-claude-v1", "index": 0}])),
        *texts("It ", "is."), of(said(0, "stop", beside={"native_finish_reason": "end_turn"})), USED,
    ], "it joins the format of each fragment to the one before", {"reasoning_details": [
        {"type": "reasoning.text", "text": "hm", "signature": "S==", "format": "anthropic-claude-v1", "index": 0}]}),
    Vendor("mistral: thoughts as parts", [
        ROLE,
        *(of(said(content=[{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}])) for piece in "hm"),
        *texts("It ", "is."), of(said(0, "stop", content=""), usage=USAGE),
    ], "it drops arrays that come after a text", {"content": "It is.", "reasoning_content": "hm"}),
    Vendor("litellm: thinking_blocks", [
        *(of(said(role="assistant", content="", reasoning_content=piece,
                  thinking_blocks=[{"type": "thinking", "thinking": piece}])) for piece in ("h", "m")),
        of(said(content="", thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "S=="}])),
        *texts("It ", "is."), STOP, USED,
    ], "it fails on entries without an index", {
        "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "S=="}], "content": "It is.",
        "reasoning_content": "hm", "finish_reason": "stop"}),
    Vendor("xai: usage in each chunk", [
        *(of(said(role="assistant", reasoning_content=piece), usage=USAGE) for piece in ("h", "m")),
        *(of(said(content=piece), usage=USAGE) for piece in ("It ", "is.")), of(said(0, "stop"), usage=USAGE),
    ]),
    Vendor("vllm: both names, then a call", [
        of(said(role="assistant", content="")),
        *(of(said(reasoning=piece, reasoning_content=piece)) for piece in ("h", "m")),
        of(said(tool_calls=[call(0, None, "weather", "chatcmpl-tool-1")])),
        of(said(tool_calls=[call(0, '{"city": ')])), of(said(tool_calls=[call(0, '"Oslo"}')])),
        of(said(0, "tool_calls", content="", beside={"stop_reason": 151645, "token_ids": None})), USED,
    ]),
]  # fmt: skip

CALLS = [
    Vendor("mistral: whole calls", [
        ROLE,
        of(said(0, "tool_calls", content="", tool_calls=[
            call(0, OSLO, "weather", "D681PevKs"), call(1, '{"zone":"CET"}', "time", "VvvODy9mT")]), usage=USAGE),
    ]),
    Vendor("gemini: all calls have index 0", [
        of(said(role="assistant", tool_calls=[call(0, OSLO, "weather", "function-call-1")])),
        of(said(role="assistant", tool_calls=[call(0, '{"zone":"CET"}', "time", "function-call-2")])),
        of(said(0, "stop", role="assistant"), usage=USAGE),
    ], "it takes one index for one call", {"tool_calls": [
        ["function-call-1", "weather", OSLO], ["function-call-2", "time", '{"zone":"CET"}']]}),
    Vendor("gemini: no ids, and a thought's signature", [
        of(said(role="assistant", tool_calls=[
            call(0, OSLO, "weather", "", extra_content={"google": {"thought_signature": "S=="}})])),
        of(said(role="assistant", tool_calls=[call(0, "{}", "time", "")])), CALLED,
    ], "it takes one index for one call", {"tool_calls": [[None, "weather", OSLO], [None, "time", "{}"]]}),
    Vendor("ollama: whole calls, content empty", [
        of(said(role="assistant", content="", tool_calls=[call(0, OSLO, "weather", "call_1")])),
        of(said(role="assistant", content="", tool_calls=[call(1, "{}", "time", "call_2")])),
        of(said(0, "tool_calls", role="assistant", content="")), USED,
    ]),
    Vendor("qwen: empty ids and names in later pieces", [
        of(said(role="assistant", content=None, tool_calls=[call(0, "", "weather", "call_1")])),
        *(of(said(content=None, tool_calls=[
            {"index": 0, "id": "", "type": "function", "function": {"name": "", "arguments": piece}}]))
          for piece in ('{"city":', '"Oslo"}')),
        CALLED, USED,
    ]),
    Vendor("glm: no index, arguments whole", [
        of(said(role="assistant", content="I look.")),
        of(said(role="assistant", tool_calls=[call(None, OSLO, "weather", "call_1")])),
        of(said(0, "tool_calls", role="assistant", content=""), usage=USAGE),
    ], "it needs an index", {"tool_calls": [["call_1", "weather", OSLO]], "content": "I look."}),
    Vendor("a relay of Claude: a placeholder first", [
        of(said(role="assistant", content=None, tool_calls=[call(0, "{}", "weather", "toolu_1")])),
        *(of(said(tool_calls=[call(0, piece)])) for piece in ('{"city":', '"Oslo"}')), CALLED, USED,
    ], "it joins the placeholder to the arguments", {"tool_calls": [["toolu_1", "weather", OSLO]]}),
    Vendor("a relay: id and name in each piece", [
        *(of(said(role="assistant", tool_calls=[call(0, piece, "weather", "call_1")])) for piece in
          ("", '{"city":', '"Oslo"}')), CALLED, USED,
    ], "it joins ids and names", {"tool_calls": [["call_1", "weather", OSLO]]}),
]  # fmt: skip

OTHERS = [
    Vendor("groq: x_groq first and last", [
        {**ROLE, "x_groq": {"id": "req_1"}}, *texts("Hel", "lo"),
        {**STOP, "x_groq": {"id": "req_1", "usage": {"queue_time": 0.1, **USAGE}}}, USED,
    ]),
    Vendor("llama.cpp: content null first, timings last", [
        of(said(role="assistant", content=None)), *texts("Hel", "lo"), STOP,
        {**USED, "timings": {"prompt_n": 5, "predicted_n": 7}},
    ]),
    Vendor("perplexity: a message beside the delta, citations in each", [
        of(said(role="assistant", content=piece, beside={"message": {"role": "assistant", "content": whole}}),
           citations=["https://a.example"], usage=USAGE)
        for piece, whole in (("Hel", "Hel"), ("lo", "Hello"))
    ] + [of(said(0, "stop", content="", beside={"message": {"role": "assistant", "content": "Hello"}}),
            citations=["https://a.example"], usage=USAGE)]),
    Vendor("together: the text twice, a token's number", [
        *(of(said(token_id=number, role="assistant", content=piece, beside={"text": piece}))
          for number, piece in ((11, "Hel"), (12, "lo"))),
        of(said(0, "stop", token_id=2, role="assistant", content="", beside={"text": "", "seed": 7}), usage=USAGE),
    ], "it adds numbers up", {"content": "Hello", "token_id": 2}),
    Vendor("moonshot: usage within the last choice", [
        ROLE, *texts("Hel", "lo"), of(said(0, "stop", beside={"usage": USAGE})), USED,
    ]),
    Vendor("nobody said why it ended", [ROLE, *texts("Hel", "lo"), USED], "it has no finish reason then", {
        "finish_reason": "stop", "content": "Hello"}),
]  # fmt: skip

STREAMS = [*OPENAI, *REASONING, *CALLS, *OTHERS]
