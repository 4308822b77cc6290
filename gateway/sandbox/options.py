"""What an honest answer looks like: the settings every scenario takes besides its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Options:
    """``chunks``: content events (0: one a word). ``chunk_size``: characters an event (0: words).

    ``text``: ``words`` | ``u2028`` (with U+2028, U+2029 and U+0085 inside). ``cached``: prompt tokens that count as
    cached. ``reasoning``: events of ``reasoning_content`` first. ``refusal``: 1 refuses in the ``refusal`` field.
    ``calls``: tool calls to make, whatever the prompt says. ``variant``: the text of gpt-4o-image (image_chat.py).
    ``images``: pictures in it. ``polls``: how often a task is asked for before it is done.
    ``vocabulary``: a task's statuses, ``docs`` | ``lower`` | ``legacy``. ``task``: ``ok`` | ``failed``.
    """

    chunks: int = 0
    chunk_size: int = 0
    text: str = "words"
    cached: int = 0
    reasoning: int = 0
    refusal: int = 0
    calls: int = 0
    variant: str = "piapi"
    images: int = 1
    polls: int = 2
    vocabulary: str = "docs"
    task: str = "ok"

    @classmethod
    def chosen(cls, values: Mapping[str, Value]) -> Options:
        """The options among a scenario's values, which are already of the right types."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})  # type: ignore[arg-type]
