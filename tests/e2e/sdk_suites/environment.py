"""What the SDKs' own tests need, fetched and kept: python -m tests.e2e.sdk_suites.environment

An environment with the locked packages of requirements/suites.txt, and the sdists that sdks.toml names, both compared
with their hashes. They lie in ``SDK_SUITES_CACHE``, else in the user's cache, so that another clone finds them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER.parents[2] / "requirements" / "suites.txt"
PATIENCE = 240.0
"""Seconds that one step of the fetching may take."""


class NotFetched(Exception):
    """What could not be fetched, and what was said."""


@dataclass(frozen=True)
class Sdk:
    """An SDK's release. ``differences``: the table's file name. ``tests``: within ``tests/api_resources``."""

    name: str
    version: str
    sha256: str
    differences: str
    tests: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def sdist(self) -> Path:
        """Where it is kept, fetched or not."""
        return cache_folder() / f"{self.id}.tar.gz"

    @property
    def is_fetched(self) -> bool:
        return self.sdist.is_file() and sha256(self.sdist.read_bytes()).hexdigest() == self.sha256

    def unpack(self, folder: Path) -> Path:
        """Unpack into ``folder`` and return the release's own folder in it."""
        with tarfile.open(self.sdist) as archive:
            archive.extractall(folder, filter="data")
        return folder / self.id


def read_sdks() -> tuple[Sdk, ...]:
    rows = tomllib.loads((FOLDER / "sdks.toml").read_text(encoding="utf-8"))["sdk"]
    return tuple(Sdk(**{**row, "tests": tuple(row["tests"])}) for row in rows)


def cache_folder() -> Path:
    chosen = os.environ.get("SDK_SUITES_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piapi-gateway" / "sdk_suites"


def environment() -> Path:
    """The environment of the locked packages as they are now; made or not."""
    locked = sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    return cache_folder() / f"environment-{sys.version_info.major}.{sys.version_info.minor}-{locked}"


def program(name: str) -> Path:
    """A program of the environment."""
    return environment() / "bin" / name


def is_made() -> bool:
    return (environment() / "made").exists()


def make() -> None:
    """Make the environment, if it is not there. Raises NotFetched."""
    if is_made():
        return
    folder = environment()
    folder.mkdir(parents=True, exist_ok=True)
    uv = str(Path(sys.executable).parent / "uv")
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    locked = ["--require-hashes", "--requirement", str(REQUIREMENTS)]
    _run([uv, "pip", "install", "--quiet", "--python", str(program("python")), *locked])
    (folder / "made").touch()


def fetch(sdk: Sdk) -> None:
    """Fetch a release's sdist, if it is not there. Raises NotFetched."""
    if sdk.is_fetched:
        return
    with tempfile.TemporaryDirectory() as name:
        wanted = Path(name) / "wanted.txt"
        wanted.write_text(f"{sdk.name}=={sdk.version} --hash=sha256:{sdk.sha256}\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(program("python"))]
        exactly = ["--no-deps", "--no-binary=:all:", "--no-build-isolation", "--require-hashes"]
        _run([*pip, "download", "--quiet", *exactly, "--dest", name, "--requirement", str(wanted)])
        shutil.move(Path(name) / sdk.sdist.name, sdk.sdist)  # perhaps from another disk


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFetched(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise NotFetched(f"{Path(command[0]).name}: {' / '.join(said)}")


def main() -> int:
    """Fetch everything. Prints what cannot be; 0 in any case, as the tests skip it, loudly."""
    try:
        make()
        for sdk in read_sdks():
            fetch(sdk)
    except NotFetched as error:
        print(f"sdk_suites: CANNOT BE FETCHED, THE SDKS' OWN TESTS WILL BE SKIPPED: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
