"""What is installed is what was locked: by hash, with no code that runs of itself, and above the versions with known
holes.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import site
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ \\;]+)(?: ?; ?[^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")

FLOORS = {
    "starlette": "1.3.1",  # CVE-2026-48710, CVE-2025-62727, CVE-2025-54121
    "h11": "0.16",  # CVE-2025-43859
    "httpx2": "2.16.2",  # httpx 0.28.1 inflates a bomb whole
    "httptools": "0.9",
    "jinja2": "3.1.6",  # CVE-2025-27516, CVE-2024-56326: templates of others, which there are none of here
    "pillow": "12.3",  # CVE-2026-40192
    "multipart": "2.0.1",
    "orjson": "3.13",
    "certifi": "2026",
    "urllib3": "2.8",
}
"""The oldest versions without a known hole that would reach us."""

ABSENT = {
    "aiohttp": "never needed; its parsers had many holes",
    "python-multipart": "CVE-2026-40347, CVE-2026-42561, CVE-2026-24486; forms are read by multipart",
    "h2": "HTTP/2 is not spoken",
    "httpx": "0.28.1 inflates an 809-byte answer into a gigabyte",
    "litellm": "1.82.7 and 1.82.8 stole keys by a .pth file",
    "fastapi": "",
    "uvicorn": "has no timer for heads",
}
"""What must not come in, not even by way of something else."""

OWN_PTH = re.compile(r"__editable__\.piapi_gateway-[\d.]+\.pth|distutils-precedence\.pth")
"""Files that Python runs at every start: our own place in a clone, and setuptools'."""

FAST, LATE = 20, 120  # seconds


@cache
def locked(name: str) -> dict[str, str]:
    """Package → version of one lock."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {found[1]: found[2] for line in lines if (found := PIN.match(line))}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("!")[2] or version)[:4]))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_is_a_version_with_its_hashes(lock: Path) -> None:
    hashes, package = 0, ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if PIN.match(line):
            assert hashes or not package, f"{package} has no hash"
            package, hashes = line, 0
        elif HASH.match(line):
            hashes += 1
        else:
            assert re.match(r"^ +# ", line), f"{line!r} is no locked version: no URL, no path, no index, no option"
    assert hashes, f"{package} has no hash"
    assert len(locked(lock.name)) > 0


INSTALLS = re.compile(r"pip\S* .*install|\$\(PIP\)")


@pytest.mark.parametrize("path", ["Makefile", "deploy/Dockerfile", "deploy/systemd/README.md"])
def test_every_place_that_installs_asks_for_hashes_or_for_no_index(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8").replace("\\\n", " ")
    found = [part for line in text.splitlines() for part in re.split(r"&&|;", line) if INSTALLS.search(part)]
    assert len(found) >= 3
    for part in found:
        if not re.search(r"--require-hashes|--no-index|\$\(PIP\) -r", part):
            pytest.fail(f"{path} installs without hashes: {part.strip()}")
    assert "--upgrade" not in text


def test_the_build_takes_nothing_from_the_network() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    built_with = {re.split(r"[<>=]", each)[0] for each in project["build-system"]["requires"]}
    assert built_with <= set(locked("build.txt")), "what builds it is locked as well"
    for path in ("Makefile", "deploy/Dockerfile"):
        text = (ROOT / path).read_text(encoding="utf-8")
        own = [line for line in text.splitlines() if re.search(r"(install|wheel) .*(-e )?\.(\s|$)", line)]
        assert own
        assert all("--no-deps" in line and "--no-build-isolation" in line for line in own), path


def test_every_dependency_is_locked_and_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    direct = {re.split(r"[<>=; ]", each)[0] for each in project["dependencies"]}
    for name in direct:
        assert name in locked("base.txt")
        assert re.search(rf"^\| {re.escape(name)} \|", reasons, re.MULTILINE), f"{name} has no reason"
    assert len(locked("base.txt")) <= 32, "few dependencies are few that can turn"


def test_what_traces_need_is_locked_beside_all_that_a_gateway_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for name in (re.split(r"[<>=; ]", each)[0] for each in project["optional-dependencies"]["otel"]):
        assert name in locked("otel.txt")
        assert name not in locked("base.txt"), "only a gateway that traces has it"
        assert re.search(rf"^\| {re.escape(name)} \|", reasons, re.MULTILINE), f"{name} has no reason"
    assert locked("base.txt").items() <= locked("otel.txt").items(), "one version of everything"
    assert len(locked("otel.txt")) - len(locked("base.txt")) <= 10


def test_versions_with_known_holes_are_not_locked() -> None:
    base = locked("base.txt")
    for name, floor in FLOORS.items():
        assert numbers(base[name]) >= numbers(floor), f"{name} {base[name]} is older than {floor}"
    for lock in LOCKS:
        allowed = {"uvicorn", "httpx"} if lock.name != "base.txt" else set()
        allowed |= {"aiohttp"} if lock.name == "suites.txt" else set()  # the SDKs' other client, in their own tests
        assert not (ABSENT.keys() - allowed) & locked(lock.name).keys(), lock.name


def test_what_runs_is_what_is_locked() -> None:
    for name, version in locked("base.txt").items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        assert found == version, name


def test_nothing_installed_runs_at_every_start_of_python() -> None:
    """A ``.pth`` file may hold code: so keys were stolen from all who had installed LiteLLM 1.82.7."""
    folders = {Path(folder) for folder in (*site.getsitepackages(), *sys.path) if folder.endswith("site-packages")}
    assert folders
    files = [file for folder in folders for file in folder.glob("*.pth")]
    for file in files:
        assert OWN_PTH.fullmatch(file.name), f"{file} is not known here"
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(("import ", "import\t")):
                assert "_distutils_hack" in line or "__editable___piapi_gateway" in line, f"{file}: {line}"
    for folder in folders:
        assert not (folder / "sitecustomize.py").exists()
        assert not (folder / "usercustomize.py").exists()


def test_no_image_of_a_container_follows_its_name() -> None:
    """A tag ``latest`` would upgrade of itself; so would a version without its last part."""
    images = [
        service["image"]
        for path in (ROOT / "deploy").glob("compose*.yaml")
        for service in yaml.safe_load(path.read_text(encoding="utf-8"))["services"].values()
    ]
    images += re.findall(r"^FROM (\S+)", (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert images
    for image in images:
        numbered = r":\d+\.\d+" if image.startswith("postgres:") else r":v?\d+\.\d+\.\d+"  # its versions have two
        assert re.search(numbered, image), image


def test_no_locked_version_has_a_published_hole() -> None:
    """Asks PyPI's advisories by pip-audit, where both can be had."""
    audit = shutil.which("pip-audit") or shutil.which("pip-audit", path=str(Path(sys.executable).parent))
    if audit is None:
        pytest.skip("PIP-AUDIT IS MISSING: nothing asked for published holes. pipx install pip-audit, then run this")
    lock = ROOT / "requirements" / "otel.txt"  # which has all of base.txt
    done = subprocess.run(
        [audit, "--requirement", lock, "--require-hashes", "--disable-pip", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        timeout=LATE - FAST,
        check=False,
    )
    unknown = re.findall(r"could not be audited: (\S+)", done.stdout + done.stderr)
    if set(unknown) >= locked("base.txt").keys() & {"starlette", "h11", "pillow"} or re.search(
        r"ConnectionError|ServiceError|Max retries|NameResolution|timed out|ProxyError", done.stderr
    ):
        pytest.skip(f"PIP-AUDIT REACHED NO ADVISORIES: nothing asked for published holes. {done.stderr[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr
