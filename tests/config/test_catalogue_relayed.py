"""The catalogue's models that are relayed: at the backup, with the prices of the packages and OpenAI's ends."""

from __future__ import annotations

import pytest

from gateway.config import load
from gateway.core.pricing.cost_bound import RequestedWork, cost_bound
from gateway.core.pricing.price_text import describe_price
from gateway.core.types import OperationName

AUDIO_ENDS = "2027-02-26"


@pytest.mark.parametrize(
    ("model", "operations", "price", "ends"),
    [
        ("text-embedding-3-small", ["embeddings"], {"input": "0.02"}, ""),
        ("text-embedding-3-large", ["embeddings"], {"input": "0.13"}, ""),
        ("text-embedding-ada-002", ["embeddings"], {"input": "0.1"}, ""),
        ("tts-1", ["speech"], {"characters": "15"}, ""),
        ("tts-1-hd", ["speech"], {"characters": "30"}, ""),
        ("gpt-4o-mini-tts", ["speech"], {"input": "0.6", "output": "12"}, ""),
        ("whisper-1", ["transcriptions", "translations"], {"seconds": "0.0001"}, AUDIO_ENDS),
        ("gpt-4o-transcribe", ["transcriptions"], {"input": "2.5", "audio_input": "6", "output": "10"}, AUDIO_ENDS),
        (
            "gpt-4o-transcribe-diarize", ["transcriptions"], {"input": "2.5", "audio_input": "6", "output": "10"},
            AUDIO_ENDS,
        ),
        (
            "gpt-4o-mini-transcribe", ["transcriptions"], {"input": "1.25", "audio_input": "3", "output": "5"},
            AUDIO_ENDS,
        ),
        ("omni-moderation-latest", ["moderations"], {"input": "0", "output": "0"}, ""),
    ],
)  # fmt: skip
def test_a_relayed_model(model: str, operations: list[OperationName], price: dict[str, str], ends: str) -> None:
    config = load(None, {"PIAPI_API_KEY": "one", "BACKUP_API_KEY": "two"})
    (route,) = [route for route in config.declared if route.model == model]
    assert [target.operation for target in route.targets] == operations
    for target, source in zip(route.targets, config.provenance[model], strict=True):
        assert (target.upstream.name, target.model, target.shutdown) == ("backup", model, ends)
        assert describe_price(target.price) == price
        assert source.source
        assert source.confidence in ("medium", "high")
        assert cost_bound((target,), RequestedWork()) == 0  # all that it can bill is priced
