"""Files as a user writes them, loaded as the command line loads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.config import Config, load
from gateway.core.errors import ConfigError

Load = Callable[..., Config]
Faults = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a config.yaml into an empty working directory and load it."""
    monkeypatch.chdir(tmp_path)

    def run(text: str | bytes, environ: Mapping[str, str] | None = None) -> Config:
        path = Path("config.yaml")
        path.touch(mode=0o600)
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return load(path, environ or {})

    return run


@pytest.fixture
def faults(load_text: Load) -> Faults:
    """The problems a file has; fails if it has none."""

    def run(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, environ)
        return caught.value.problems

    return run
