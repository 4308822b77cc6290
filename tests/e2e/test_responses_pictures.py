"""Models that make pictures, asked by the Responses API: what they make is told as a chat's answer is."""

from __future__ import annotations

import pytest

from .harness import ALICE, Rig


@pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
async def test_a_picture_is_made(rig: Rig, model: str) -> None:
    sdk = rig.openai(api_key=ALICE)
    whole = await sdk.responses.create(model=model, input="a bear")
    assert whole.status == "completed"
    assert "![" in whole.output_text
    events = [event async for event in await sdk.responses.create(model=model, input="a bear", stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert "![" in events[-1].response.output_text
    rows = await rig.rows(2)
    assert [row.images for row in rows] == [1, 1]
    assert all(row.charged > 0 for row in rows)
    for response in (whole, events[-1].response):
        assert response.usage is not None
        assert response.usage.to_dict()["cost"] > 0
