"""Build the compiled wheel into ``build/fast/``, and a copy of the project with the compiled modules beside it.

Nothing is compiled in the project's own folder: what is imported from there stays plain Python. The copy is what the
suite is run in on the compiled modules (``make test-fast``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INTO = ROOT / "build" / "fast"
TREE = INTO / "tree"
_COPIED = ("bench", "deploy", "docs", "gateway", "requirements", "scripts", "soak", "tests")
_MADE = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")


def main() -> int:
    """Build both. Returns the exit code: 0 done, 1 could not be compiled."""
    shutil.rmtree(INTO, ignore_errors=True)
    TREE.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name in _COPIED:
            shutil.copytree(path, TREE / path.name, ignore=_MADE, symlinks=True)
        elif path.is_file() and not path.name.startswith("gateway.db"):
            shutil.copy2(path, TREE)
    print("compiling the hot modules with mypyc: several minutes …", flush=True)
    said = INTO / "build.log"
    with said.open("wb") as log:
        built = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "-v", "wheel", "--no-deps", "--no-index",
             "--no-build-isolation", "--wheel-dir", str(INTO), str(TREE)],
            env=os.environ | {"PIAPI_GATEWAY_COMPILED": "1"}, stdout=log, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    wheels = list(INTO.glob("*.whl"))
    if built.returncode or not wheels:
        print(f"it could not be compiled (a C compiler and Python's headers are needed); see {said}", file=sys.stderr)
        return 1
    shutil.rmtree(TREE / "build", ignore_errors=True)
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(TREE, [name for name in wheel.namelist() if name.endswith((".so", ".pyd"))])
    return 0


if __name__ == "__main__":
    sys.exit(main())
