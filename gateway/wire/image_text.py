"""Finding the pictures in the text that gpt-4o-image answers with.

PiAPI's answer is markdown: the prompt as fenced JSON, progress lines, then each picture as an image, often with a link
to download it beside. Only the images are results: a plain link such as ``[100](…)`` is progress, and what stands in
the fence is the prompt, which may quote a picture the user sent.
"""

from __future__ import annotations

import re

_IMAGE = re.compile(
    r"""!\[(?:[^\[\]]|\[[^\[\]]*\])*\]       # alternative text: a name, a URL, brackets one level deep
        \(\s*<?
        (https?://(?:[^()<>\s]|\([^()\s]*\))+)  # the address, parentheses one level deep
        >?(?:\s+["'][^"']*["'])?\s*\)           # a title
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FENCE = "```"


def picture_links(text: str) -> list[str]:
    """The addresses of the markdown images in ``text``, each once, in order."""
    return list(dict.fromkeys(_IMAGE.findall(_outside_fences(text))))


def _outside_fences(text: str) -> str:
    """The text without its fenced blocks. A fence that is never closed is text, or it could hide a picture."""
    kept: list[str] = []
    held: list[str] | None = None
    for line in text.split("\n"):
        mark = line.strip()
        if held is not None:
            held.append(line)
            if mark == _FENCE:
                held = None
        elif mark.startswith(_FENCE) and "`" not in mark[len(_FENCE) :]:
            held = [line]
        else:
            kept.append(line)
    return "\n".join(kept if held is None else kept + held)
