"""The official OpenAI SDK for Python on every relayed route: what it is given, what it is told, what it costs."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.sandbox.relays.sounds import HEARD

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Rig
from .relays import PRICED, recording


@pytest.fixture
async def rig(gateway: StartGateway) -> Rig:
    return await gateway(PRICED)


async def in_a_thread(rig: Rig, work: Any) -> Any:
    """What the synchronous SDK brings."""

    def run() -> Any:
        with openai.OpenAI(base_url=rig.url, api_key=ALICE, max_retries=0, timeout=20) as sdk:
            return work(sdk)

    return await asyncio.to_thread(run)


def talk(seconds: float = 2.5) -> tuple[str, io.BytesIO, str]:
    return "talk.wav", io.BytesIO(recording(seconds)), "audio/wav"


class TestEmbeddings:
    async def test_are_numbers_and_cost_their_tokens(self, rig: Rig) -> None:
        answer = await rig.openai().embeddings.create(model="text-embedding-3-small", input=PROMPT)
        assert len(answer.data[0].embedding) == 1536
        assert answer.usage.prompt_tokens == len(PROMPT.split())
        row = await rig.row()
        assert (row.charged, row.confidence) == (answer.usage.prompt_tokens * 20, "measured")
        assert answer.usage.model_extra == {"cost": row.charged / 1e9}
        (paid,) = [line.amount for line in rig.sandbox.bill]
        assert row.charged == paid

    @pytest.mark.parametrize("given", [["one", "two words"], [[1, 2, 3], [4]], [5, 6]])
    async def test_of_several_inputs(self, rig: Rig, given: Any) -> None:
        answer = await rig.openai().embeddings.create(model="text-embedding-3-small", input=given, dimensions=8)
        assert [len(one.embedding) for one in answer.data] == [8] * (1 if given == [5, 6] else 2)
        assert rig.sandbox.requests[0].json["input"] == given

    @pytest.mark.parametrize("encoding", ["float", "base64"])
    async def test_in_either_encoding(self, rig: Rig, encoding: Any) -> None:
        def work(sdk: openai.OpenAI) -> Any:
            return sdk.embeddings.with_raw_response.create(
                model="text-embedding-3-small", input=PROMPT, encoding_format=encoding
            )

        raw = await in_a_thread(rig, work)
        assert raw.headers["x-gateway-upstream"] == "piapi"
        assert raw.headers["x-gateway-attempts"] == "1"
        assert float(raw.headers["x-gateway-cost-usd"]) > 0
        embedding = raw.parse().data[0].embedding
        assert isinstance(embedding, str if encoding == "base64" else list)


class TestCompletions:
    async def test_whole(self, rig: Rig) -> None:
        answer = await rig.openai().completions.create(model="gpt-3.5-turbo-instruct", prompt=PROMPT, max_tokens=5)
        assert answer.choices[0].text.startswith("SANDBOX")
        assert answer.usage is not None
        row = await rig.row()
        assert row.charged == answer.usage.prompt_tokens * 1500 + 5 * 2000
        assert row.charged == rig.sandbox.bill[0].amount

    @pytest.mark.parametrize("asked", [True, False])
    async def test_streamed(self, rig: Rig, asked: bool) -> None:
        options: Any = {"stream_options": {"include_usage": True}} if asked else {}
        stream = await rig.openai().completions.create(
            model="gpt-3.5-turbo-instruct", prompt=PROMPT, stream=True, **options
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices).startswith("SANDBOX")
        usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
        assert len(usages) == asked
        row = await rig.row()
        assert (row.charged, row.confidence) == (rig.sandbox.bill[0].amount, "measured")
        if asked:
            assert usages[0].model_extra == {"cost": row.charged / 1e9}


class TestModerations:
    async def test_are_free_and_need_no_model(self, rig: Rig) -> None:
        sdk = rig.openai(_strict_response_validation=True)
        answer = await sdk.moderations.create(input=[PROMPT, "a forbidden thing"])
        assert [one.flagged for one in answer.results] == [False, True]
        assert rig.sandbox.requests[0].json["model"] == "omni-moderation-latest"
        row = await rig.row()
        assert (row.charged, row.state) == (0, "settled")


class TestSpeech:
    async def test_to_a_file_as_it_streams(self, rig: Rig, tmp_path: Path) -> None:
        def work(sdk: openai.OpenAI) -> Any:
            with sdk.audio.speech.with_streaming_response.create(
                model="tts-1", voice="alloy", input=PROMPT, response_format="wav"
            ) as answer:
                answer.stream_to_file(tmp_path / "said.wav")
                return answer.headers

        headers = await in_a_thread(rig, work)
        assert headers["content-type"] == "audio/wav"
        assert (tmp_path / "said.wav").read_bytes()[:4] == b"RIFF"
        row = await rig.row()
        assert (row.charged, row.confidence) == (len(PROMPT) * 15_000, "measured")
        assert row.charged == rig.sandbox.bill[0].amount
        assert float(headers["x-gateway-cost-usd"]) == row.charged / 1e9

    async def test_whole(self, rig: Rig) -> None:
        answer = await rig.openai().audio.speech.create(model="tts-1", voice="alloy", input=PROMPT)
        assert answer.response.headers["content-type"] == "audio/mpeg"
        assert answer.content.startswith(b"ID3")

    async def test_by_tokens_is_estimated_where_nothing_tells(self, rig: Rig) -> None:
        await rig.openai().audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input=PROMPT)
        row = await rig.row()
        assert row.confidence == "estimated"
        assert row.charged > 0

    async def test_in_events_tells_its_use(self, rig: Rig) -> None:
        async with rig.openai().audio.speech.with_streaming_response.create(
            model="gpt-4o-mini-tts", voice="alloy", input=PROMPT, stream_format="sse"
        ) as answer:
            text = (await answer.read()).decode()
        assert "speech.audio.delta" in text
        assert "speech.audio.done" in text
        row = await rig.row()
        assert (row.charged, row.confidence) == (rig.sandbox.bill[0].amount, "measured")


class TestTranscripts:
    async def test_by_the_second(self, rig: Rig) -> None:
        answer = await rig.openai().audio.transcriptions.create(model="whisper-1", file=talk())
        assert answer.text == HEARD
        row = await rig.row()
        assert (row.charged, row.confidence) == (300_000, "measured")
        assert row.charged == rig.sandbox.bill[0].amount
        (request,) = rig.sandbox.requests
        assert request.form is not None
        assert [(file.name, file.filename) for file in request.form.files] == [("file", "audio.wav")]
        assert request.form.files[0].data == recording()

    @pytest.mark.parametrize("form", ["text", "srt", "vtt"])
    async def test_as_text(self, rig: Rig, form: Any) -> None:
        text: Any = await rig.openai().audio.transcriptions.create(model="whisper-1", file=talk(), response_format=form)
        assert HEARD in text
        row = await rig.row()
        assert (row.charged, row.confidence) == (300_000, "estimated")

    @pytest.mark.parametrize("form", ["verbose_json", "diarized_json"])
    async def test_in_parts(self, rig: Rig, form: Any) -> None:
        model = "gpt-4o-transcribe" if form == "diarized_json" else "whisper-1"
        answer: Any = await rig.openai().audio.transcriptions.create(
            model=model, file=talk(), response_format=form, timestamp_granularities=["segment"]
        )
        [segment] = answer.segments
        assert segment.text == HEARD
        if form == "verbose_json":  # the AI SDK refuses a segment without them
            assert (segment.seek, segment.temperature) == (0, 0.0)
            assert segment.tokens
            assert None not in (segment.avg_logprob, segment.compression_ratio, segment.no_speech_prob)
        assert (await rig.row()).confidence == "measured"

    async def test_streamed(self, rig: Rig) -> None:
        stream: Any = await rig.openai().audio.transcriptions.create(
            model="gpt-4o-transcribe", file=talk(), stream=True, include=["logprobs"]
        )
        events = [event async for event in stream]
        assert "".join(event.delta for event in events if event.type == "transcript.text.delta").strip() == HEARD
        assert events[-1].type == "transcript.text.done"
        row = await rig.row()
        assert (row.charged, row.confidence) == (rig.sandbox.bill[0].amount, "measured")

    async def test_streamed_by_a_model_that_does_not(self, rig: Rig) -> None:
        stream: Any = await rig.openai().audio.transcriptions.create(model="whisper-1", file=talk(), stream=True)
        (event,) = [event async for event in stream]
        assert (event.type, event.text) == ("transcript.text.done", HEARD)

    @pytest.mark.filterwarnings("ignore:deprecated")
    async def test_translated(self, rig: Rig) -> None:
        answer = await rig.openai().audio.translations.create(model="whisper-1", file=talk())
        assert answer.text == HEARD
        assert rig.sandbox.requests[0].path == "/v1/audio/translations"
        assert (await rig.row()).charged == 300_000
