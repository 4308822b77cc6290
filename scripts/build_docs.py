"""Write the reference pages of docs/ from the code: python -m scripts.build_docs [--check]

The same code always makes the same bytes. With ``--check`` nothing is written; exit 1 if a page is not as it would be
written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.docs.cli import cli_page
from scripts.docs.compatibility import compatibility_page
from scripts.docs.configuration import configuration_page
from scripts.docs.errors import errors_page
from scripts.docs.headers import headers_page
from scripts.docs.metrics import metrics_page
from scripts.docs.scenarios import scenarios_page

FOLDER = Path(__file__).parents[1] / "docs"
PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "compatibility.md": compatibility_page,
    "configuration.md": configuration_page,
    "errors.md": errors_page,
    "headers.md": headers_page,
    "metrics.md": metrics_page,
    "scenarios.md": scenarios_page,
}


def written() -> Mapping[Path, str]:
    """Path → text of every page."""
    return {FOLDER / name: make() for name, make in PAGES.items()}


def stale() -> list[Path]:
    """The pages that are not as they would be written, those that are missing among them."""
    return [path for path, text in written().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the reference pages of docs/ from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of step")
    if parser.parse_args().check:
        for path in (found := stale()):
            print(f"docs/{path.name} is out of step with the code: run python -m scripts.build_docs")
        return 1 if found else 0
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
