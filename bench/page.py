"""Write the newest kept run into docs/performance.md, between its markers: python -m bench.page"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import results

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by python -m bench.page -->\n", "<!-- end of figures -->\n"
NONE = "No run is kept: `make bench-results` makes one."


def written(page: str, run: results.Run | None, name: str = "") -> str:
    """The page with a run's tables. Raises ValueError if a marker is not there once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError("the page needs each marker once")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    told = NONE if run is None else f"{run.markdown()}\n- every round: `bench/results/{name}`"
    return f"{before}{BEGIN}\n{told}\n\n{END}{after}"


def current(page: str) -> str:
    """The page as it should be."""
    path = results.newest()
    return written(page, results.load(path), path.name) if path else written(page, None)


def main() -> int:
    """Exit code 0."""
    PAGE.write_text(current(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
