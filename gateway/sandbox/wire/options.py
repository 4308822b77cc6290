"""The options of an honest answer, which every scenario takes besides its own parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

Value = str | int | float
"""A parameter of a scenario."""

OPTION_WORDS: Mapping[str, tuple[str, ...]] = {
    "task": ("ok", "failed", "nsfw", "never", "empty", "nameless"),
    "vocabulary": ("docs", "lower", "legacy", "odd"),
    "picture": ("top", "id", "envelope", "url", "images", "whole"),
    "vendor": ("openai", "anthropic", "google", "deepseek"),
    "shape": ("url", "urls", "images", "base64", "legacy", "data"),
}
"""Options that take one of these words. A scenario with a parameter of the same name has its own words for it."""


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of an honest answer.

    Chat: ``chunks``: content events (0: one a word). ``chunk_size``: characters an event (0: words). ``text``:
    ``words`` | ``u2028`` (with U+2028, U+2029 and U+0085 inside). ``reasoning``: events of ``reasoning_content``
    first. ``refusal``: 1 refuses in the ``refusal`` field. ``calls``: tool calls to make, needed or not. ``required``:
    1 gives them only the arguments that must be. ``cached``: prompt tokens that count as cached, in the Images API
    too. ``written``: prompt tokens that count as written to the cache. ``heard``, ``spoken``: tokens of sound, of the
    prompt and of the completion. ``searches``: searches the provider made. ``vendor``: in whose words the usage is.
    ``beside``: 1 counts reasoning in the total only, as xAI and Google do. ``tier``: the service tier that served,
    ``none`` to name none, "" for the one asked for. ``named``: the model that answers, "" for the one asked for.
    ``any_fields``: 1 takes fields and tools that OpenAI does not know, as OpenRouter does.

    gpt-4o-image: ``variant``: its text (images/image_texts.py). ``images``: images in it.

    Both, and the Images API: ``form``: how a picture is handed over, "" for the usual (images/picture_forms.py).

    Images API: ``whole``: 1 answers a streaming request with one JSON body. ``usage``: 0 leaves the usage out.
    ``link``: 1 answers links instead of base64. ``words``: ``chat`` states the usage in chat's words.

    Tasks, read when one is created: ``polls``: how often it is asked for before it is done. ``ready``: above 0, it is
    done after so many seconds instead, asked for or not. ``task``: ``ok`` | ``failed`` | ``nsfw`` (failed, for that
    reason) | ``never`` (done) | ``empty`` (done, without an image) | ``nameless`` (its creation names no task id).
    ``vocabulary``: its statuses, ``docs`` | ``lower`` | ``legacy`` | ``odd`` (other case, stray blanks, unknown words).
    ``shape``: where its images are, ``url`` (``image_url``, and ``image_urls`` for several) | ``urls`` | ``images``
    (objects with a ``url``) | ``base64`` (the first image only) | ``legacy`` (``task_info`` and ``task_result``) |
    ``data`` (as ``url``, in an envelope without ``code``). ``consume``: the points it says it took, 0 for a task that
    does not say, -1 for the true ones. ``concurrency``: tasks a key may have running, as the account page says;
    ``enforce_concurrency``: 1 refuses one more.

    Asynchronous pictures: ``picture``: ``top`` (a task at the top level, its picture as base64) | ``id`` (the same, its
    id is called ``id``) | ``envelope`` (in PiAPI's envelope) | ``url`` (a link) | ``images`` (a link in
    ``output.images``) | ``whole`` (the first answer is the picture, without a task).

    Links: ``site``: the base URL of links to images, "" for the sandbox itself.
    """

    chunks: int = 0
    chunk_size: int = 0
    text: str = "words"
    cached: int = 0
    reasoning: int = 0
    refusal: int = 0
    calls: int = 0
    required: int = 0
    variant: str = "piapi"
    images: int = 1
    form: str = ""
    words: str = "images"
    whole: int = 0
    usage: int = 1
    link: int = 0
    polls: int = 2
    ready: float = 0.0
    task: str = "ok"
    vocabulary: str = "docs"
    shape: str = "url"
    consume: int = -1
    concurrency: int = 5
    enforce_concurrency: int = 0
    site: str = ""
    picture: str = "top"
    written: int = 0
    heard: int = 0
    spoken: int = 0
    searches: int = 0
    vendor: str = "openai"
    beside: int = 0
    tier: str = ""
    named: str = ""
    any_fields: int = 0

    @classmethod
    def chosen(cls, values: Mapping[str, Value]) -> Options:
        """The options among a scenario's values, which are already of the right types."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})  # type: ignore[arg-type]
