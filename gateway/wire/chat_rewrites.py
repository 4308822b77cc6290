"""A chat as one target gets it, where the configuration renames or drops fields for that target.

A model that stands in for another may know a wish by another name (``max_completion_tokens`` for ``max_tokens``), or
refuse it. Nothing is done that the configuration does not say, and the client is told what was.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.types import Rewrites
from gateway.wire.chat_request import ChatRequest

_BOUNDS = ("max_completion_tokens", "max_tokens")


def rewritten(request: ChatRequest, rewrites: Rewrites | None) -> tuple[ChatRequest, str | None]:
    """The request as the target gets it, and the note for the client that names what was changed; None if nothing was.

    Where the new name is there as well, its value stays and the old one is dropped. Null stands for an absent field.
    The bound of the output is what the target will read: none if it is dropped, or goes by a name not known here.
    """
    if rewrites is None:
        return request, None
    renames, body = dict(rewrites.renames), request.body
    result: dict[str, Any] = {}
    renamed, dropped = [], []
    for name, value in body.items():
        new = renames.get(name)
        if name in rewrites.drops or (new is not None and body.get(new) is not None):
            if value is not None:
                dropped.append(name)
        elif new is None:
            result.setdefault(name, value)
        elif value is not None:
            result[new] = value
            renamed.append(f"{name} as {new}")
    if len(result) == len(body) and not renamed:
        return request, None
    limits = [limit for name in _BOUNDS if type(limit := result.get(name)) is int and limit > 0]
    told = (("rewritten", renamed), ("dropped", dropped))
    note = "; ".join(f"{word}: {', '.join(names)}" for word, names in told if names)
    return replace(request, body=result, max_output_tokens=max(limits, default=None)), note or None
