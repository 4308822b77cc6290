"""Speech and transcripts, answered honestly and loudly as a simulation: a text is read aloud as a beep for each word,
and what is heard is always that this is a sandbox.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from gateway.sandbox.wire.answers import Answer, Event, EventStream, Reply, Sale, json_reply
from gateway.sandbox.wire.errors import openai_refusal
from gateway.sandbox.wire.forms import Form
from gateway.sandbox.wire.options import Options

RATE = 24_000  # samples a second, 16 bits, one channel
_BEEP = 0.05  # seconds
_MP3_FRAME = b"\xff\xfb\x90\x64".ljust(417, b"\x00")  # 26 ms of silence at 128 kbit/s
_ID3 = b"ID3\x03\x00\x00\x00\x00\x00\x12TIT2\x00\x00\x00\x08\x00\x00\x00SANDBOX"
_TYPES: Mapping[str, bytes] = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
_NANO_PER_CHARACTER = {"tts-1": 15_000, "tts-1-hd": 30_000}
_NANO_PER_SECOND = 100_000
_PIECE = 4096
HEARD = "This is the SANDBOX: a simulation heard a recording and understood nothing."


def answer_speech(body: dict[str, Any], options: Options) -> Answer:
    """``POST /v1/audio/speech``."""
    model, text, voice = body.get("model"), body.get("input"), body.get("voice")
    if not isinstance(model, str):
        return openai_refusal("you must provide a model parameter")
    if not isinstance(text, str) or not text:
        return openai_refusal("Invalid 'input': expected a text of at least one character.", "input")
    if len(text) > 4096:
        told = "Invalid 'input': string too long. Expected a string with maximum length 4096."
        return openai_refusal(told, "input", "string_above_max_length")
    if voice is None:
        return openai_refusal("Missing required parameter: 'voice'.", "voice", "missing_required_parameter")
    form = body.get("response_format") or "mp3"
    if form not in _TYPES:
        return openai_refusal("Invalid value for 'response_format'.", "response_format", "invalid_value")
    words = len(text.split())
    sound = _sound(form, max(1, words))
    tokens = {"input_tokens": words, "output_tokens": 6 * words, "total_tokens": 7 * words}
    by_tokens = model not in _NANO_PER_CHARACTER
    nano = words * 600 + 6 * words * 12_000 if by_tokens else len(text) * _NANO_PER_CHARACTER[model]
    sale = Sale(model, words, output_tokens=6 * words, flat=True, nano=nano)
    whole = Reply(200, sound, content_type=_TYPES[form], sale=sale, piece=_PIECE)
    if body.get("stream_format") != "sse":
        return whole

    def events() -> Iterator[Event]:
        for start in range(0, len(sound), _PIECE):
            piece = base64.b64encode(sound[start : start + _PIECE]).decode()
            yield Event(orjson.dumps({"type": "speech.audio.delta", "audio": piece}), "content", 1)
        done: dict[str, Any] = {"type": "speech.audio.done"} | ({"usage": tokens} if options.usage else {})
        yield Event(orjson.dumps(done), "finish")

    return EventStream(events(), whole, sale)


def answer_transcript(form: Form | None, options: Options, *, translate: bool) -> Answer:
    """``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``."""
    if form is None:
        return openai_refusal("Sandbox: expected a multipart/form-data request.")
    file = next((one for one in form.files if one.name == "file"), None)
    if file is None:
        return openai_refusal("Missing required parameter: 'file'.", "file", "missing_required_parameter")
    model = form.get("model")
    if not model:
        return openai_refusal("you must provide a model parameter")
    if not file.data:
        return openai_refusal("The audio file could not be decoded or its format is not supported.", "file")
    seconds = _seconds(file.data)
    by_time = model == "whisper-1"
    usage = _usage(seconds, by_time=by_time)
    nano = math.ceil(seconds) * _NANO_PER_SECOND if by_time else _nano_of_tokens(model, usage)
    sale = Sale(model, flat=True, nano=nano)
    told = {"usage": usage} if options.usage else {}
    whole = _whole_transcript(form.get("response_format") or "json", seconds, told, translate=translate)
    whole = replace(whole, sale=sale if whole.status == 200 else None)
    if form.get("stream") != "true" or by_time or translate:
        return whole

    def events() -> Iterator[Event]:
        for word in HEARD.split():
            yield Event(orjson.dumps({"type": "transcript.text.delta", "delta": word + " "}), "content", 1)
        yield Event(orjson.dumps({"type": "transcript.text.done", "text": HEARD, **told}), "finish")

    return EventStream(events(), whole, sale)


def _whole_transcript(kind: str, seconds: float, told: dict[str, Any], *, translate: bool) -> Reply:
    if kind in ("text", "srt", "vtt"):
        return Reply(200, _as_text(kind, seconds), content_type=b"text/plain; charset=utf-8")
    document: dict[str, Any] = {"text": HEARD, **told}
    if kind == "verbose_json":
        place = {"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": HEARD, "tokens": [50364, 50414]}
        figures = {"temperature": 0.0, "avg_logprob": -0.3, "compression_ratio": 1.2, "no_speech_prob": 0.01}
        segment = {**place, **figures}
        task = "translate" if translate else "transcribe"
        document = {"task": task, "language": "english", "duration": seconds, "segments": [segment], **document}
    elif kind == "diarized_json":
        spoken = {"type": "transcript.text.segment", "id": "seg_0", "speaker": "A", "start": 0.0, "end": seconds}
        document = {"task": "transcribe", "duration": seconds, "segments": [{**spoken, "text": HEARD}], **document}
    elif kind != "json":
        return openai_refusal("Invalid value for 'response_format'.", "response_format", "invalid_value")
    return json_reply(200, document)


def _usage(seconds: float, *, by_time: bool) -> dict[str, Any]:
    if by_time:
        return {"type": "duration", "seconds": math.ceil(seconds)}
    heard, made = math.ceil(seconds * 10), len(HEARD.split())
    details = {"text_tokens": 0, "audio_tokens": heard}
    tokens = {"input_tokens": heard, "output_tokens": made, "total_tokens": heard + made}
    return {"type": "tokens", **tokens, "input_token_details": details}


def _nano_of_tokens(model: str, usage: dict[str, Any]) -> int:
    heard, made = (3_000, 5_000) if "mini" in model else (6_000, 10_000)
    return int(usage["input_tokens"] * heard + usage["output_tokens"] * made)


def _as_text(kind: str, seconds: float) -> bytes:
    if kind == "text":
        return f"{HEARD}\n".encode()
    mark = "," if kind == "srt" else "."
    end = f"00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d}{mark}000"
    head = "WEBVTT\n\n" if kind == "vtt" else "1\n"
    return f"{head}00:00:00{mark}000 --> {end}\n{HEARD}\n\n".encode()


def _seconds(data: bytes) -> float:
    """How long a recording plays: a WAV file by its rate, any other at 8,000 bytes a second."""
    if data[:4] == b"RIFF" and len(data) > 44:
        return round((len(data) - 44) / int.from_bytes(data[28:32], "little"), 3)
    return round(len(data) / 8_000, 3)


@lru_cache(maxsize=32)
def _sound(form: str, words: int) -> bytes:
    if form not in ("wav", "pcm"):
        return _ID3 + _MP3_FRAME * (8 * words)
    samples = int(RATE * _BEEP)
    beep = [int(9_000 * math.sin(2 * math.pi * 440 * place / RATE)) for place in range(samples)]
    raw = struct.pack(f"<{2 * samples}h", *beep, *[0] * samples) * words
    if form == "pcm":
        return raw
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(raw), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16,
                       b"data", len(raw))  # fmt: skip
    return head + raw
