"""Build the documentation's site: python -m scripts.build_site

Gathers the pages in build/, has Zensical build them in its strict mode, and refuses a site that loads anything from
another host. What passes becomes site/.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from scripts.docs.site_pages import NavigationError, gather, loaded_from_afar

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"


def main() -> int:
    try:
        config = gather(ROOT, BUILD)
    except NavigationError as error:
        print(error)
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    if code := subprocess.run(command, check=False).returncode:
        return code
    built, site = BUILD / "site", ROOT / "site"
    if found := list(loaded_from_afar(built)):
        print("\n".join(found))
        return 1
    shutil.rmtree(site, ignore_errors=True)
    built.rename(site)
    return 0


if __name__ == "__main__":
    sys.exit(main())
