"""Golden transcripts: read, compared, and written anew on request (golden/README.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
WRITING = os.environ.get("PIAPI_WRITE_GOLDEN") == "1"


def cases(grid: str) -> list[Path]:
    """The cases of one client API over one upstream API."""
    found = sorted(path for path in (GOLDEN / grid).iterdir() if path.is_dir())
    assert found
    return found


def asked(case: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((case / "asked.json").read_text(encoding="utf-8"))
    return document


def hold(case: Path, name: str, found: bytes) -> None:
    """Hold what was found against the golden file; documents by what they say."""
    path = case / name
    if WRITING:
        text = json.dumps(json.loads(found), indent=1, ensure_ascii=False) + "\n" if name.endswith(".json") else None
        path.write_bytes(found if text is None else text.encode())
    golden = path.read_bytes()
    if name.endswith(".json"):
        assert json.loads(found) == json.loads(golden)
    else:
        assert found.decode() == golden.decode()
