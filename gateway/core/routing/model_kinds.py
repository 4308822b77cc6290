"""What a model's name tells: who made it, and whether it can be asked at all on this gateway's routes.

Both are guesses by the vendors' own habits of naming; a vendor's prefix (``openai/gpt-4o``) is looked past.
"""

from __future__ import annotations

import re

_VENDORS = (
    (re.compile(r"gpt-|chatgpt|o\d|codex|dall-e|text-embedding|whisper|tts-|sora|omni-moderation"), "openai"),
    (re.compile(r"claude"), "anthropic"),
    (re.compile(r"gemini|gemma|nano-banana|imagen|veo"), "google"),
    (re.compile(r"flux"), "black-forest-labs"),
    (re.compile(r"seedream"), "bytedance"),
    (re.compile(r"qwen|z-image"), "alibaba"),
    (re.compile(r"deepseek"), "deepseek"),
    (re.compile(r"grok"), "xai"),
    (re.compile(r"(mi[sx]|code?)tral"), "mistral"),
    (re.compile(r"llama"), "meta"),
)

_NO_ROUTE = re.compile(
    r"""(?:^|[-_./:])(?:
        rerank(?:er)? | realtime
        | (?:chat)?gpt-image | dall-e | imagen | flux\.?\d? | stable-diffusion | sdxl | midjourney | seedream
        | sora | veo
    )(?:[-_./:\d]|$)""",
    re.VERBOSE,
)
"""Names of what a default route never leads to: pictures, films, live sessions, rerankers."""


def vendor_of(model: str) -> str:
    """Who made the model, as the vendor calls itself; empty if its name does not tell."""
    name = model.rpartition("/")[2].lower()
    return next((vendor for names, vendor in _VENDORS if names.match(name)), "")


def may_be_asked(model: str) -> bool:
    """False for a model whose name says that no route of this gateway asks for it along the default route."""
    return _NO_ROUTE.search(model.lower()) is None
