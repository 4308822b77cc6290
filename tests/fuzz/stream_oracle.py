"""What a client must get of a stream, by what its upstream meant; nothing here is the gateway's own word.

Each rule cites where it stands: the issue (its part), the contract, a row of the fault catalogue, or a case.
"""

from __future__ import annotations

import json
from typing import Any

from tests.fuzz.meaning import Call, Meaning, Said
from tests.fuzz.reading import choices_of, events, has_choices, parsed, plainly, reason_of
from tests.fuzz.stream_writing import Stream


class Fault(AssertionError):
    """The gateway did not do what the oracle demands."""


def hold(condition: object, what: str, *shown: object) -> None:
    if not condition:
        raise Fault(" | ".join([what, *(repr(each) for each in shown)]))


def check_streamed(
    meaning: Meaning, stream: Stream, emitted: bytes, *, ok: bool, asked: bool, is_document: bool
) -> None:
    """A streaming client. ``ok``: whether the conversation ended well. ``asked``: for a usage chunk."""
    read = events(emitted)
    done = [data for data in read if data.strip() == b"[DONE]"]
    if not stream.doubtful:
        # Issue, done means: no answer told complete that was not; and none that was is told as broken.
        hold(ok == meaning.complete, "complete" if ok else "not complete", meaning.ending)
    hold(len(done) == ok, "[DONE] once if and only if it is complete", len(done))
    hold(not done or read[-1].strip() == b"[DONE]", "nothing after [DONE]", read[-1:])
    documents = [document for data in read if isinstance(document := parsed(data), dict)]
    hold(not any(document.get("error") for document in documents), "an error is the driver's to tell")
    if is_document:
        # A document that breaks off has nothing of which a client could be given anything.
        if ok:
            _check_chunks_of_document(meaning, documents)
        else:
            hold(not emitted, "a broken document is not told", emitted)
    else:
        _check_passed(stream, documents)
    if ok and not stream.doubtful:
        _check_reasons(meaning, documents)
        _check_usage(meaning, documents, asked=asked)


def _check_passed(stream: Stream, documents: list[dict[str, Any]]) -> None:
    """Every chunk that came passes as it came (issue, part 3); its usage may be left for the end (contract)."""
    got = [document for document in documents if has_choices(document)]
    sent = [chunk for chunk in stream.chunks if has_choices(chunk.document)]
    if not any(chunk.speaks or any(map(reason_of, choices_of(chunk.document))) for chunk in sent):
        return  # before content nothing has to pass: another upstream may be asked
    hold(len(got) >= len(sent), "chunks are lost", len(sent), len(got))
    for chunk, document in zip(sent, got, strict=False):
        wanted = _comparable(chunk.document)
        hold(_comparable(document) == wanted, "a chunk was changed", chunk.document, document)
    for document in got[len(sent) :]:
        said = [choice for choice in choices_of(document) if choice.get("delta") or not reason_of(choice)]
        hold(not said, "words that nobody said", document)


def _comparable(document: dict[str, Any]) -> str:
    return json.dumps(plainly({name: value for name, value in document.items() if name != "usage"}))


def _check_reasons(meaning: Meaning, documents: list[dict[str, Any]]) -> None:
    """Every choice of a complete stream has a reason, at [DONE] at the latest (issue, part 1)."""
    missing = [place for place, said in enumerate(meaning.choices) if said.finish is None]
    added = [
        (choice.get("index"), reason)
        for document in documents
        if has_choices(document)
        for choice in choices_of(document)
        if (reason := reason_of(choice)) is not None
    ]
    if len(meaning.choices) == 1 and missing:
        hold(added, "no finish reason")
    for place in missing if len(meaning.choices) > 1 else ():
        hold(any(int(index) == place for index, _ in added if index is not None), "no finish reason of choice", place)
    for index, reason in added:
        said = meaning.choices[0 if len(meaning.choices) == 1 else int(index)]
        if said.finish is None:
            wanted = ("function_call", "tool_calls") if said.older else ("tool_calls",) if said.calls else ("stop",)
            hold(reason in wanted, "the reason to end", reason, wanted)


def _check_usage(meaning: Meaning, documents: list[dict[str, Any]], *, asked: bool) -> None:
    """The usage chunk ends the stream of a client that asked, with id, created, model and no choices (issue, part 3);
    nobody else gets one.
    """
    telling = [document for document in documents if isinstance(document.get("usage"), dict) and document["usage"]]
    if not asked:
        hold(not telling, "usage for one who did not ask", telling)
        return
    hold(len(telling) == 1 and documents[-1] is telling[0], "one usage chunk, at the end", telling)
    last = telling[0]
    hold(last["choices"] == [], "choices of the usage chunk", last)
    hold(isinstance(last.get("id"), str) and last["id"], "id of the usage chunk", last)
    hold(isinstance(last.get("model"), str) and last["model"], "model of the usage chunk", last)
    hold(type(last.get("created")) is int, "created of the usage chunk", last)
    _check_counts(meaning, last["usage"])


def _check_counts(meaning: Meaning, usage: dict[str, Any]) -> None:
    for name in ("prompt_tokens", "completion_tokens"):
        hold(type(usage.get(name)) is int, "usage in integers", usage)
        if meaning.usage is not None:
            hold(usage[name] == meaning.usage[name], "the usage that the upstream told", usage, meaning.usage)


def _check_chunks_of_document(meaning: Meaning, documents: list[dict[str, Any]]) -> None:
    """A whole answer told as a stream, which is one of ours: exactly as OpenAI writes it."""
    texts: dict[int, dict[str, str]] = {}
    calls: dict[int, dict[int, dict[str, Any]]] = {}
    for document in documents:
        for choice in document["choices"]:
            delta, index = choice["delta"], choice["index"]
            for name in ("content", "reasoning_content", "reasoning", "refusal"):
                if delta.get(name):
                    here = texts.setdefault(index, {})
                    here[name] = here.get(name, "") + delta[name]
            for piece in delta.get("tool_calls") or ():
                call = calls.setdefault(index, {}).setdefault(piece["index"], piece)
                hold(call is piece, "a call in one piece", piece)
    for place, said in enumerate(meaning.choices):
        here = texts.get(place, {})
        _check_texts(said, {"content": here.get("content"), **here})
        if not said.older:
            _check_calls(said, list(calls.get(place, {}).values()))


def check_whole(meaning: Meaning, stream: Stream, answer: bytes | None, *, ok: bool) -> None:
    """A client that wants the answer whole."""
    if not stream.doubtful:
        hold(ok == meaning.complete, "complete" if ok else "not complete", meaning.ending)
    hold(ok == (answer is not None), "an answer if and only if it is complete")
    if answer is None or stream.doubtful:
        return
    document = json.loads(answer.decode())  # strictly UTF-8
    _check_form(document)
    hold(len(document["choices"]) == len(meaning.choices), "choices", document)
    for place, (choice, said) in enumerate(zip(document["choices"], meaning.choices, strict=True)):
        hold(choice["index"] == place, "index", choice)
        message = choice["message"]
        _check_texts(said, message)
        if said.older:
            called = {"id": None, "function": message.get("function_call")}
            _check_calls(said, [called])
        else:
            _check_calls(said, message.get("tool_calls") or [])
        _check_entries(said, message)
        wanted = (said.finish,)
        if said.finish is None:
            wanted = ("function_call", "tool_calls") if said.older else ("tool_calls",) if said.calls else ("stop",)
        hold(choice["finish_reason"] in wanted, "finish reason", choice["finish_reason"], wanted)
        if said.tokens:
            hold(len(choice["logprobs"]["content"]) == said.tokens, "a logprob for each token", choice["logprobs"])
    _check_counts(meaning, document["usage"])


def _check_form(document: dict[str, Any]) -> None:
    """What we write is exact, whatever came."""
    hold(document["object"] == "chat.completion", "object", document["object"])
    hold(isinstance(document["id"], str) and document["id"], "id", document["id"])
    hold(isinstance(document["model"], str) and document["model"], "model", document["model"])
    hold(type(document["created"]) is int, "created", document["created"])
    for choice in document["choices"]:
        hold(choice["message"]["role"] == "assistant", "role", choice)
        hold(isinstance(choice["finish_reason"], str), "finish reason", choice)
        hold(isinstance(choice["message"]["content"], str | None), "content", choice)
        hold(choice["logprobs"] is None or isinstance(choice["logprobs"], dict), "logprobs", choice)
        for call in choice["message"].get("tool_calls") or ():
            hold(call["type"] in ("function", "custom"), "type of a call", call)


def _check_texts(said: Said, message: dict[str, Any]) -> None:
    hold(plainly(message.get("content") or "") == plainly(said.text), "text", said.text, message)
    hold(plainly(message.get("refusal") or "") == plainly(said.refusal), "refusal", said.refusal, message)
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    hold(plainly(reasoning) == plainly(said.reasoning), "reasoning", said.reasoning, message)


def _check_calls(said: Said, calls: list[dict[str, Any]]) -> None:
    """Cases of ``tool-calls.jsonl``: the same calls, with these ids, names and (as JSON) arguments, in this order."""
    hold(len(calls) == len(said.calls), "calls", said.calls, calls)
    for meant, call in zip(said.calls, calls, strict=True):
        body = call.get("custom" if meant.custom else "function")
        hold(isinstance(body, dict), "kind of a call", meant, call)
        hold(call["id"] == meant.id, "id of a call", meant, call)
        hold(body["name"] == meant.name, "name of a call", meant, call)
        _check_arguments(meant, body)


def _check_arguments(meant: Call, body: dict[str, Any]) -> None:
    given = body["input" if meant.custom else "arguments"]
    hold(isinstance(given, str), "arguments leave as text", body)
    if meant.custom:
        hold(plainly(given) == plainly(meant.arguments), "input of a call", meant, body)
        return
    try:
        arguments = json.loads(given)
    except ValueError:
        raise Fault(f"arguments are no JSON | {meant} | {body}") from None
    hold(plainly(arguments) == plainly(meant.arguments), "arguments of a call", meant, body)


def _check_entries(said: Said, message: dict[str, Any]) -> None:
    if said.thoughts:
        entries = message.get(said.thoughts_name)
        hold(plainly(entries) == plainly(said.thoughts), "thoughts that can be sent back", said.thoughts, entries)
    if said.citations:
        urls = [entry["url_citation"]["url"] for entry in message.get("annotations") or ()]
        hold(urls == said.citations, "citations once each", said.citations, urls)
