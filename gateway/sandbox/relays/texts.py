"""Embeddings, legacy completions and moderations, answered honestly: the same request always gets the same answer.

A token is a word, as in chat; a list of numbers is as many tokens. An embedding's numbers are made from its text.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson

from gateway.sandbox.wire.answers import DONE, Answer, Event, EventStream, Reply, Sale, json_reply
from gateway.sandbox.wire.errors import openai_refusal
from gateway.sandbox.wire.options import Options

SIZES = {"text-embedding-3-large": 3072}
USUAL_SIZE = 1536
MOST_INPUTS = 2048
_NANO_PER_TOKEN = {"text-embedding-3-small": 20, "text-embedding-3-large": 130, "text-embedding-ada-002": 100}
_WORDS = ("SANDBOX", "text", "by", "nobody", "made", "up", "of", "these", "words", "again", "and", "again.")
_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)


def answer_embeddings(body: dict[str, Any], options: Options) -> Answer:
    """``POST /v1/embeddings``."""
    model, given = body.get("model"), body.get("input")
    if not isinstance(model, str):
        return openai_refusal("you must provide a model parameter")
    inputs = _inputs(given)
    if not inputs:
        return openai_refusal("'$.input' is invalid. Please check the API reference.", "input")
    if len(inputs) > MOST_INPUTS:
        return openai_refusal(f"Invalid 'input': array too long. Expected at most {MOST_INPUTS} items.", "input")
    size = body.get("dimensions") or SIZES.get(model, USUAL_SIZE)
    if type(size) is not int or not 0 < size <= SIZES["text-embedding-3-large"]:
        return openai_refusal("Invalid value for 'dimensions'.", "dimensions", "invalid_value")
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": number, "embedding": _embedding(one, size, packed=packed)}
        for number, one in enumerate(inputs)
    ]
    tokens = sum(map(_tokens, inputs))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    sale = Sale(model, tokens, flat=True, nano=tokens * _NANO_PER_TOKEN.get(model, 100))
    content: dict[str, Any] = {"object": "list", "data": data, "model": options.named or model}
    return json_reply(200, content | ({"usage": usage} if options.usage else {}), sale=sale)


def answer_moderation(body: dict[str, Any], options: Options, *, id: str) -> Answer:
    """``POST /v1/moderations``: what holds the word ``forbidden`` is flagged as violence."""
    inputs = _inputs(body.get("input"))
    if not inputs:
        return openai_refusal("'$.input' is invalid. Please check the API reference.", "input")
    results = []
    for one in inputs:
        flagged = "forbidden" in str(one)
        categories = {name: flagged and name == "violence" for name in _CATEGORIES}
        scores = {name: 0.97 if held else 0.0001 for name, held in categories.items()}
        types = {name: ["text"] for name in _CATEGORIES}
        results.append(
            {
                "flagged": flagged,
                "categories": categories,
                "category_scores": scores,
                "category_applied_input_types": types,
            }
        )
    model = options.named or body.get("model") or "omni-moderation-latest"
    return json_reply(200, {"id": id, "model": model, "results": results}, sale=Sale(model, flat=True, nano=0))


def answer_completion(body: dict[str, Any], options: Options, *, id: str, created: int) -> Answer:
    """``POST /v1/completions``: ``max_tokens`` words, 16 unless it says otherwise."""
    model = body.get("model")
    if not isinstance(model, str):
        return openai_refusal("you must provide a model parameter")
    prompts = _inputs(body.get("prompt")) or ["<|endoftext|>"]
    count = len(prompts) * (body.get("n") or 1)
    most = 16 if body.get("max_tokens") is None else body["max_tokens"]
    words = [_WORDS[place % len(_WORDS)] + " " for place in range(min(most, options.chunks or most))]
    finish = "length" if most <= len(words) else "stop"
    tokens = sum(map(_tokens, prompts))
    made = count * len(words)
    usage = {"prompt_tokens": tokens, "completion_tokens": made, "total_tokens": tokens + made}
    sale = Sale(model, tokens, output_tokens=made)
    around = {"id": id, "object": "text_completion", "created": created, "model": options.named or model}

    def choice(number: int, text: str, reason: str | None) -> dict[str, Any]:
        return {"text": text, "index": number, "logprobs": None, "finish_reason": reason}

    choices = [choice(number, "".join(words), finish) for number in range(count)]
    told = {"usage": usage} if options.usage else {}
    whole = json_reply(200, {**around, "choices": choices, **told}, sale=sale)
    if not body.get("stream"):
        return whole

    def events() -> Iterator[Event]:
        for word in words:
            for number in range(count):
                yield Event(orjson.dumps({**around, "choices": [choice(number, word, None)]}), "content", 1)
        for number in range(count):
            yield Event(orjson.dumps({**around, "choices": [choice(number, "", finish)]}), "finish")
        if (body.get("stream_options") or {}).get("include_usage"):
            yield Event(orjson.dumps({**around, "choices": [], "usage": usage}), "usage")
        yield DONE

    return EventStream(events(), whole, sale)


def no_object() -> Reply:
    return openai_refusal("We could not parse the JSON body of your request.")


def _inputs(given: Any) -> list[Any]:
    """The inputs of a request: texts, lists of tokens, or parts of a moderation."""
    if isinstance(given, str):
        return [given] if given else []
    if not isinstance(given, list) or not given:
        return []
    if isinstance(given[0], int):
        return [given]
    return [given] if isinstance(given[0], dict) else given


def _tokens(one: Any) -> int:
    return len(one) if isinstance(one, list) else max(1, len(str(one).split()))


def _embedding(one: Any, size: int, *, packed: bool) -> Any:
    seed = sha256(orjson.dumps(one)).digest()
    numbers = [(seed[place % 32] - 127.5) / (127.5 * (1 + place // 32)) for place in range(size)]
    if packed:
        return base64.b64encode(struct.pack(f"<{size}f", *numbers)).decode()
    return numbers
