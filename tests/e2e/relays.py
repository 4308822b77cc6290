"""Requests to the relayed routes for tests: one kind for each route and form of its answer."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.raw_client import Answer

from .harness import ALICE, PROMPT, Rig

PRICED = """
models:
  text-embedding-3-small:
    targets:
      - {upstream: piapi, operation: embeddings, price: {input: 0.02}}
      - {upstream: backup, operation: embeddings}
  gpt-3.5-turbo-instruct:
    targets:
      - {upstream: piapi, operation: completions, price: {input: 1.50, output: 2.00}}
      - {upstream: backup, operation: completions, price: {input: 1.50, output: 2.00}}
  omni-moderation-latest:
    targets:
      - {upstream: piapi, operation: moderations, price: {input: 0}}
      - {upstream: backup, operation: moderations}
  tts-1:
    targets:
      - {upstream: piapi, operation: speech, price: {characters: 15}}
      - {upstream: backup, operation: speech}
  gpt-4o-mini-tts:
    targets:
      - {upstream: piapi, operation: speech, price: {input: 0.60, output: 12}}
      - {upstream: backup, operation: speech}
  whisper-1:
    targets:
      - {upstream: piapi, operation: transcriptions, price: {seconds: 0.0001}}
      - {upstream: backup, operation: transcriptions}
      - {upstream: piapi, operation: translations, price: {seconds: 0.0001}}
      - {upstream: backup, operation: translations}
  gpt-4o-transcribe:
    targets:
      - {upstream: piapi, operation: transcriptions, price: {input: 2.50, audio_input: 6, output: 10}}
      - {upstream: backup, operation: transcriptions}
"""
"""Every relayed model at PiAPI and, as built in, at the backup, so that one can stand in for the other."""

BOUNDARY = "a-boundary-of-tests"


def recording(seconds: float = 2.5, rate: int = 8_000) -> bytes:
    """A WAV file of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(b"\x00\x00" * int(seconds * rate))
    return file.getvalue()


def form(fields: Mapping[str, Any], file: bytes, name: str = "talk.wav") -> bytes:
    """A form as openai-python writes it."""
    pieces = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    pieces += [head.encode(), b"Content-Type: audio/wav\r\n\r\n", file, b"\r\n"]
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])


@dataclass(frozen=True)
class Kind:
    """A request to one route. ``streams``: its answer comes in events or pieces. ``priced``: it costs something."""

    name: str
    path: str
    model: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    file: bytes | None = None
    streams: bool = False
    events: bool = False
    priced: bool = True

    def __str__(self) -> str:
        return self.name

    def request(self, **more: Any) -> tuple[bytes, str]:
        """The body and its content type."""
        fields = {"model": self.model, **self.fields, **more}
        fields = {name: value for name, value in fields.items() if value is not None}
        if self.file is None:
            return json.dumps(fields).encode(), "application/json"
        return form(fields, self.file), f"multipart/form-data; boundary={BOUNDARY}"

    async def ask(
        self, rig: Rig, key: str | None = ALICE, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        body, content_type = self.request(**more)
        async with rig.client() as client:
            await client.ask(body, key, {"content-type": content_type, **(headers or {})}, target=self.path)
            answer = await client.head()
            if not self.events or self.path == "/v1/completions":
                return await client.rest(answer)
            answer = await client.broken_or_whole(answer)  # these streams have no [DONE]
            if answer.is_stream and b'"error"' in answer.body:
                answer.closes = await client.closed() == b""
            return answer


EMBEDDINGS = Kind("embeddings", "/v1/embeddings", "text-embedding-3-small", {"input": PROMPT})
COMPLETION = Kind("completion", "/v1/completions", "gpt-3.5-turbo-instruct", {"prompt": PROMPT})
COMPLETIONS = Kind(
    "completion-stream", "/v1/completions", "gpt-3.5-turbo-instruct", {"prompt": PROMPT, "stream": True},
    streams=True, events=True,
)  # fmt: skip
MODERATION = Kind("moderation", "/v1/moderations", "omni-moderation-latest", {"input": PROMPT}, priced=False)
_SPOKEN = {"input": PROMPT, "voice": "alloy"}
SPEECH = Kind("speech", "/v1/audio/speech", "tts-1", _SPOKEN, streams=True)
SPEECHES = Kind(
    "speech-events", "/v1/audio/speech", "gpt-4o-mini-tts", {**_SPOKEN, "stream_format": "sse"},
    streams=True, events=True,
)  # fmt: skip
TRANSCRIPT = Kind("transcript", "/v1/audio/transcriptions", "whisper-1", file=recording())
SUBTITLES = Kind("subtitles", "/v1/audio/transcriptions", "whisper-1", {"response_format": "srt"}, file=recording())
TRANSCRIPTS = Kind(
    "transcript-events", "/v1/audio/transcriptions", "gpt-4o-transcribe", {"stream": "true"}, file=recording(),
    streams=True, events=True,
)  # fmt: skip
TRANSLATION = Kind("translation", "/v1/audio/translations", "whisper-1", file=recording())

WHOLE = (EMBEDDINGS, COMPLETION, MODERATION, TRANSCRIPT, TRANSLATION)
EVENTS = (COMPLETIONS, SPEECHES, TRANSCRIPTS)
KINDS = (*WHOLE, SUBTITLES, SPEECH, *EVENTS)
