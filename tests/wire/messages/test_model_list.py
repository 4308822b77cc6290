"""Models in the shape that Anthropic's SDKs read: page by page, none twice, none left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ClientError
from gateway.wire.messages.model_list import claude_model, claude_page


def models(count: int) -> list[dict[str, Any]]:
    return [{"id": f"m{place:03}", "object": "model", "created": 0, "owned_by": "x"} for place in range(count)]


def test_a_model_is_told_with_its_day_and_its_end() -> None:
    model = {"id": "claude-opus-4-6", "object": "model", "created": 1_735_689_600, "owned_by": "anthropic"}
    told = {
        "type": "model",
        "id": "claude-opus-4-6",
        "display_name": "claude-opus-4-6",
        "created_at": "2025-01-01T00:00:00Z",
        "lifecycle": "active",
    }
    assert claude_model(model) == told
    ending = {"lifecycle": "deprecated", "retires_at": "2027-01-14T00:00:00Z"}
    assert claude_model({**model, "shutdown_date": "2027-01-14"}) == told | ending


def test_a_page_names_its_ends() -> None:
    page = claude_page(models(25), {})
    assert [len(page["data"]), page["first_id"], page["last_id"], page["has_more"]] == [20, "m000", "m019", True]
    assert claude_page([], {}) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@given(count=st.integers(0, 40), limit=st.integers(1, 45), backwards=st.booleans())
def test_pages_have_every_model_once(count: int, limit: int, backwards: bool) -> None:
    seen: list[str] = []
    asked = {"limit": str(limit)}
    if backwards and count:
        asked["before_id"] = f"m{count - 1:03}"
    while True:
        page = claude_page(models(count), asked)
        ids = [model["id"] for model in page["data"]]
        assert len(ids) <= limit
        seen = ids + seen if "before_id" in asked else seen + ids
        if not page["has_more"]:
            break
        asked |= {"before_id": page["first_id"]} if "before_id" in asked else {"after_id": page["last_id"]}
    wanted = [model["id"] for model in models(count)]
    assert seen == (wanted[:-1] if "before_id" in asked else wanted)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "²"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"after_id": "gone"}, "after_id"),
        ({"before_id": "gone"}, "before_id"),
    ],
)
def test_what_makes_no_page_is_refused(asked: dict[str, str], param: str) -> None:
    with pytest.raises(ClientError) as refused:
        claude_page(models(3), asked)
    assert (refused.value.status, refused.value.param) == (400, param)
