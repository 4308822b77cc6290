"""The usage of a chat in the words of several vendors, and what the chat is sold for by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from gateway.sandbox.wire.answers import Json, Sale
from gateway.sandbox.wire.options import Options

_ECHOED = {"auto": "default", "fast": "priority"}
"""OpenAI answers with the tier that served: the usual one for ``auto``, the older name for its fast tier."""


@dataclass(frozen=True, slots=True)
class ChatUsage:
    """What a chat took. ``prompt`` and ``completion`` are all tokens that are billed.

    ``tier``: the service tier that the answer names; empty for none.
    """

    prompt: int
    completion: int
    cached: int
    written: int
    heard: int
    spoken: int
    reasoning: int
    calls: int
    tier: str

    @classmethod
    def of(cls, body: Json, prompt: int, completion: int, options: Options) -> ChatUsage:
        """``prompt``, ``completion``: tokens, as they were counted."""
        cached = min(options.cached, prompt)
        heard = min(options.heard, prompt - cached)
        return cls(
            prompt,
            completion,
            cached,
            min(options.written, prompt - cached - heard),
            heard,
            min(options.spoken, completion),
            min(options.reasoning, completion),
            options.searches,
            _tier(body, options),
        )

    def sale(self, body: Json, model: str) -> Sale:
        return Sale(
            model,
            self.prompt,
            self.cached,
            self.completion,
            written_tokens=self.written,
            audio_tokens=self.heard,
            spoken_tokens=self.spoken,
            calls=self.calls or int(body.get("web_search_options") is not None),
            tier=self.tier or str(body.get("service_tier") or ""),
            lifetime=_lifetime(body),
        )

    def document(self, options: Options) -> dict[str, Any]:
        """The usage as the vendor writes it."""
        if options.vendor == "anthropic":
            return self._as_anthropic()
        if options.vendor == "google":
            return self._as_google()
        seen = self.completion - (self.reasoning if options.beside else 0)
        sent: dict[str, Any] = {"cached_tokens": self.cached, "audio_tokens": self.heard}
        if self.written:
            sent["cache_write_tokens"] = self.written
        usage: dict[str, Any] = {
            "prompt_tokens": self.prompt,
            "completion_tokens": seen,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": sent,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning, "audio_tokens": self.spoken},
        }
        if options.vendor == "deepseek":
            del usage["prompt_tokens_details"]
            usage |= {"prompt_cache_hit_tokens": self.cached, "prompt_cache_miss_tokens": self.prompt - self.cached}
        if self.calls:
            usage["server_tool_use"] = {"web_search_requests": self.calls}
        return usage

    def _as_anthropic(self) -> dict[str, Any]:
        return {
            "input_tokens": self.prompt - self.cached - self.written,
            "cache_read_input_tokens": self.cached,
            "cache_creation_input_tokens": self.written,
            "output_tokens": self.completion,
            "server_tool_use": {"web_search_requests": self.calls},
        }

    def _as_google(self) -> dict[str, Any]:
        by_modality = [
            {"modality": "TEXT", "tokenCount": self.prompt - self.heard},
            {"modality": "AUDIO", "tokenCount": self.heard},
        ]
        return {
            "promptTokenCount": self.prompt,
            "cachedContentTokenCount": self.cached,
            "candidatesTokenCount": self.completion - self.reasoning,
            "thoughtsTokenCount": self.reasoning,
            "totalTokenCount": self.prompt + self.completion,
            "promptTokensDetails": by_modality,
        }


def _tier(body: Json, options: Options) -> str:
    asked = body.get("service_tier")
    if options.tier:
        return "" if options.tier == "none" else options.tier
    return _ECHOED.get(asked, asked) if isinstance(asked, str) else ""


def _lifetime(body: Json) -> Literal["30m", "1h", "12h"]:
    told = orjson.dumps([body.get("prompt_cache_options"), body["messages"]])
    return "12h" if b'"ttl":"12h"' in told else "1h" if b'"ttl":"1h"' in told else "30m"
