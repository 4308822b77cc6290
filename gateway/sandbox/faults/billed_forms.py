"""Honest answers whose bill is more than tokens of one kind: the same under another name, so that a test can say it.

Each is the honest answer with some of its options set (wire/options.py): name → what it plays, and the options.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.sandbox.wire.options import Value

BILLED_FORMS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "cache_writes": ("usage with tokens written to the cache", {"written": 3}),
    "tier_downgraded": ("the usual tier, whichever was asked for", {"tier": "default"}),
    "tier_fast": ("the fast tier by its new name, asked for or not", {"tier": "fast"}),
    "tier_unknown": ("a service tier nobody has heard of", {"tier": "warp"}),
    "reasoning_beside": ("reasoning counted in the total only", {"reasoning": 7, "beside": 1}),
    "anthropic_usage": ("usage in Anthropic's words", {"vendor": "anthropic", "cached": 2, "written": 3}),
    "google_usage": ("usage in Google's words", {"vendor": "google", "cached": 2, "reasoning": 7}),
    "deepseek_usage": ("usage in DeepSeek's words", {"vendor": "deepseek", "cached": 2}),
    "audio_usage": ("tokens of sound, heard and spoken", {"heard": 4, "spoken": 5}),
    "web_search": ("searches that the provider made", {"searches": 2}),
    "other_model": ("an answer by another model than was asked", {"named": "gpt-4o-mini"}),
}
