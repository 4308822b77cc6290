"""The page about Responses: codex's configuration is one, and leads to this gateway by the API that it describes."""

from __future__ import annotations

import re
import tomllib

from .written import pages


def test_codex_is_told_to_ask_the_gateway_for_responses() -> None:
    text = pages()["docs/responses.md"]
    [written] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    settings = tomllib.loads(written)
    provider = settings["model_providers"][settings["model_provider"]]
    assert provider["wire_api"] == "responses"
    assert provider["base_url"] == "http://127.0.0.1:8400/v1"
    assert settings["web_search"] == "disabled"
    assert "store: false" in text
    assert "0600" in text
