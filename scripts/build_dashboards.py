"""Write deploy/grafana/dashboards/*.json from scripts/dashboards/: python -m scripts.build_dashboards [--check]

The same description always makes the same bytes. With ``--check`` nothing is written; exit 1 if a file is not as it
would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from scripts.dashboards.images import IMAGES
from scripts.dashboards.spend import SPEND
from scripts.dashboards.traffic import TRAFFIC
from scripts.dashboards.upstreams import UPSTREAMS

BOARDS = (SPEND, TRAFFIC, UPSTREAMS, IMAGES)
FOLDER = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"


def written() -> Mapping[Path, str]:
    """Path → text of every dashboard."""
    return {
        FOLDER / f"{board.name.lower()}.json": json.dumps(board.to_json(), indent=2, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def stale() -> list[Path]:
    """The files that are not as they would be written, those that nothing writes among them."""
    texts = written()
    present = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return sorted(path for path in texts.keys() | present.keys() if texts.get(path) != present.get(path))


def main() -> int:
    parser = argparse.ArgumentParser(description="Write Grafana's dashboards from scripts/dashboards/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of step")
    if parser.parse_args().check:
        for path in (found := stale()):
            print(f"{path.name} is out of step with scripts/dashboards: run python -m scripts.build_dashboards")
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
