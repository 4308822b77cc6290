"""What a model's name tells: its vendor, and whether it can be asked."""

from __future__ import annotations

import pytest

from gateway.core.routing.model_kinds import may_be_asked, vendor_of


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("gpt-4o", "openai"),
        ("gpt-4-gizmo-g-abc", "openai"),
        ("gpt-image-2.6-flare", "openai"),
        ("chatgpt-image-latest", "openai"),
        ("o1", "openai"),
        ("o4-mini", "openai"),
        ("openai/gpt-4o", "openai"),
        ("GPT-4o", "openai"),
        ("claude-sonnet-4-20250514", "anthropic"),
        ("anthropic/claude-opus-4-6", "anthropic"),
        ("gemini-2.5-flash", "google"),
        ("nano-banana-pro", "google"),
        ("Qubico/flux1-dev", "black-forest-labs"),
        ("qwen-image-edit", "alibaba"),
        ("seedream-5-lite", "bytedance"),
        ("ours", ""),
        ("omega", ""),
        ("", ""),
    ],
)
def test_the_vendor(model: str, vendor: str) -> None:
    assert vendor_of(model) == vendor


@pytest.mark.parametrize(
    "model",
    [
        "dall-e-3",
        "gpt-4o-realtime-preview-2025-06-03",
        "gpt-realtime",
        "sora-2-pro",
        "gpt-image-2.6-sunburst",
        "chatgpt-image-latest",
        "black-forest-labs/FLUX.1-schnell",
        "Qubico/flux1-dev",
        "stable-diffusion-3.5-large",
        "rerank-v3",
    ],
)
def test_what_no_default_route_leads_to(model: str) -> None:
    assert not may_be_asked(model)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "gpt-4o-2024-08-06",
        "gpt-6.2-sol",
        "o3",
        "chat-latest",
        "chatgpt-4o-latest",
        "gpt-audio",
        "gpt-4o-audio-preview",
        "claude-opus-4-6",
        "gemini-2.5-flash-image",
        "llama-3.1-8b-instruct",
        "ft:gpt-4o-mini:org::abc",
        "settspeed",
        "fluxion-7b",
        "veolia",
        "text-embedding-3-small",
        "text-embedding-ada-002",
        "openai/text-embedding-3-large",
        "mistral-embed",
        "nomic-embed-text",
        "gemini-embedding-001",
        "whisper-1",
        "tts-1",
        "tts-1-hd",
        "gpt-4o-mini-tts",
        "omni-moderation-latest",
        "gpt-4o-transcribe",
        "gpt-4o-transcribe-diarize",
        "babbage-002",
        "gpt-3.5-turbo-instruct",
    ],
)
def test_what_may(model: str) -> None:
    assert may_be_asked(model)
