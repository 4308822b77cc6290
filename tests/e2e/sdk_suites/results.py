"""What came of a run, kept for docs/compatibility.md where ``COMPATIBILITY_RESULTS`` names a folder, else nowhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

FOLDER_VARIABLE = "COMPATIBILITY_RESULTS"


def keep(
    name: str, client: str, version: str, rows: Callable[[Mapping[str, str]], Iterable[Mapping[str, str]]]
) -> None:
    """Write ``own-tests-NAME.json``. ``rows``: given client, version and date, makes the rows of all calls."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        around = {"client": client, "version": version, "date": datetime.now(UTC).strftime("%Y-%m-%d")}
        text = json.dumps(list(rows(around)), indent=1, ensure_ascii=False) + "\n"
        (Path(folder) / f"own-tests-{name}.json").write_text(text, encoding="utf-8")
