"""Images kept as files: who may read them, when they go, and what a full or foreign folder does."""

# ruff: noqa: ASYNC240 - these files are small, and nothing else runs on the loop

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.core.errors import ResultUnavailable
from gateway.images.kept import KeptImages

PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 92
JPEG = b"\xff\xd8\xff\xe0" + b"j" * 96
WEBP = b"RIFF\x60\x00\x00\x00WEBPVP8 " + b"w" * 84
GIF = b"GIF89a" + b"g" * 94

HOUR = 3600.0


async def read(images: KeptImages, name: str) -> tuple[bytes, str] | None:
    """The whole image and its content type, or None."""
    kept = await images.open(name)
    if kept is None:
        return None
    try:
        pieces = []
        while piece := await kept.read(1000):
            pieces.append(piece)
        assert kept.size == sum(map(len, pieces))
        return b"".join(pieces), kept.content_type
    finally:
        kept.close()


class Wall:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int(self.now * 1_000_000_000)


@pytest.fixture
def clock() -> Wall:
    return Wall()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not there yet" / "images"


Opened = Callable[..., KeptImages]


@pytest.fixture
async def opened(folder: Path, clock: Wall) -> AsyncIterator[Opened]:
    """``opened(keep=…, keep_max=…)``: as a gateway that has just started would see the folder."""
    made: list[KeptImages] = []

    def open_(keep: float = HOUR, keep_max: int = 1000) -> KeptImages:
        made.append(KeptImages(folder, keep, keep_max, clock))
        return made[-1]

    yield open_
    for each in made:
        await each.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def exists(path: Path) -> bool:
    return path.exists()


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make(folder: Path, mode: int = 0o700) -> None:
    folder.mkdir(parents=True, mode=mode)


@pytest.mark.parametrize(
    ("data", "extension", "content_type"),
    [
        (PNG, "png", "image/png"),
        (JPEG, "jpg", "image/jpeg"),
        (WEBP, "webp", "image/webp"),
        (GIF, "gif", "image/gif"),
    ],
)
async def test_what_is_kept_is_found_under_its_name(
    opened: Opened, folder: Path, data: bytes, extension: str, content_type: str
) -> None:
    images = opened()
    name = await images.keep(data)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\." + extension, name)  # 43 × 6 bits hold 256
    assert await read(images, name) == (data, content_type)
    assert names(folder) == {name}


async def test_nobody_else_on_the_machine_may_look(opened: Opened, folder: Path) -> None:
    assert not exists(folder)
    images = opened()
    assert not exists(folder)
    name = await images.keep(PNG)
    assert permissions(folder) == 0o700
    assert permissions(folder / name) == 0o600


async def test_equal_images_have_names_of_their_own(opened: Opened) -> None:
    images = opened()
    assert len(set(await asyncio.gather(*(images.keep(PNG) for _ in range(8))))) == 8


async def test_a_name_that_was_not_given_out_opens_nothing(opened: Opened, folder: Path, tmp_path: Path) -> None:
    images = opened()
    name = await images.keep(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "notes.png").write_bytes(PNG)
    (folder / ("x" * 43 + ".png")).symlink_to(tmp_path / "secret.png")
    (folder / ("y" * 43 + ".png")).mkdir()
    os.mkfifo(folder / ("z" * 43 + ".png"))
    for wrong in (
        "../secret.png",
        "../../secret.png",
        str(tmp_path / "secret.png"),
        "notes.png",
        "x" * 43 + ".png",
        "y" * 43 + ".png",
        "z" * 43 + ".png",
        "a" * 43 + ".png",
        "",
        ".",
        "..",
        name.removesuffix(".png"),
        name.replace(".png", ".gif"),
        name + "\n",
        name + "\0",
        "./" + name,
        f".{name}.part",
        name.upper(),
        "ａ" + name[1:],
    ):
        assert await read(images, wrong) is None, wrong
    assert await read(images, name) is not None


async def test_an_image_ages_out(opened: Opened, folder: Path, clock: Wall) -> None:
    images = opened(keep=HOUR)
    name = await images.keep(PNG)
    clock.now += HOUR - 1
    assert await images.sweep() == 0
    assert await read(images, name) == (PNG, "image/png")
    clock.now += 1
    assert await read(images, name) is None
    assert names(folder) == {name}
    assert await images.sweep() == 1
    assert names(folder) == set()


async def test_keeping_one_removes_what_has_aged(opened: Opened, folder: Path, clock: Wall) -> None:
    images = opened(keep=HOUR)
    await images.keep(PNG)
    clock.now += HOUR
    assert len(names(folder)) == 1
    name = await images.keep(GIF)
    assert names(folder) == {name}


async def test_the_oldest_make_room_for_the_newest(opened: Opened, clock: Wall) -> None:
    images = opened(keep_max=300)
    kept = []
    for _ in range(5):
        kept.append(await images.keep(PNG))
        clock.now += 1
    assert [await read(images, name) is not None for name in kept] == [False, False, True, True, True]


async def test_an_image_larger_than_all_may_be_together_is_refused(opened: Opened, folder: Path) -> None:
    images = opened(keep_max=99)
    with pytest.raises(ResultUnavailable, match=r"100 bytes are more than images\.keep_max allows \(99\)"):
        await images.keep(PNG)
    assert not exists(folder)
    exactly = opened(keep_max=100)
    assert await read(exactly, await exactly.keep(PNG)) is not None


async def test_what_is_no_image_is_refused(opened: Opened) -> None:
    with pytest.raises(ResultUnavailable, match="not a PNG, JPEG, WebP or GIF"):
        await opened().keep(b"<svg onload=alert(1)>")


async def test_a_restart_forgets_nothing(opened: Opened, folder: Path, clock: Wall) -> None:
    before = opened()
    old = await before.keep(PNG)
    clock.now += HOUR / 2
    young = await before.keep(JPEG)
    await before.close()
    clock.now += HOUR / 2
    after = opened()
    assert await after.sweep() == 1
    assert await read(after, old) is None
    assert await read(after, young) == (JPEG, "image/jpeg")
    tight = opened(keep_max=50)  # the operator has lowered keep_max in between
    assert await tight.sweep() == 1
    assert names(folder) == set()


async def test_what_is_not_ours_stays_whatever_its_age(opened: Opened, folder: Path) -> None:
    make(folder)
    foreign = {"holiday.png", "notes.txt", ".gitkeep", "b" * 42 + ".png", "c" * 43 + ".txt", "d" * 43 + ".png.part"}
    for name in foreign:
        (folder / name).write_bytes(bytes(5000))
        os.utime(folder / name, (0, 0))
    link = "e" * 43 + ".png"
    (folder / link).symlink_to(folder / "holiday.png")
    images = opened(keep_max=100)
    name = await images.keep(PNG)
    await images.sweep()
    assert names(folder) == {*foreign, link, name}


async def test_what_a_crash_left_unfinished_is_removed_but_not_what_another_process_writes(
    opened: Opened, folder: Path, clock: Wall
) -> None:
    make(folder)
    left, written = (folder / f".{letter * 43}.png.part" for letter in "ab")
    for path, age in ((left, 2 * HOUR), (written, 1)):
        path.write_bytes(PNG[:50])
        os.utime(path, (clock.now - age, clock.now - age))
    images = opened()
    assert await images.sweep() == 0
    assert names(folder) == {written.name}


async def test_two_gateways_may_share_a_folder(opened: Opened, folder: Path, clock: Wall) -> None:
    one, other = opened(keep_max=300), opened(keep_max=300)
    kept = await asyncio.gather(*(images.keep(PNG) for _ in range(10) for images in (one, other)))
    await one.sweep()
    left = names(folder)
    assert len(left) == 3
    assert left < set(kept)


async def test_there_is_nothing_to_sweep_before_the_first_image(opened: Opened, folder: Path) -> None:
    assert await opened().sweep() == 0
    assert not exists(folder)


async def test_a_folder_that_is_a_file_is_named_to_the_operator(opened: Opened, folder: Path) -> None:
    make(folder.parent)
    os.close(os.open(folder, os.O_CREAT | os.O_WRONLY))
    expected = re.escape(str(folder)) + ".*; make images.dir a folder that the gateway may write to"
    with pytest.raises(ResultUnavailable, match=expected):
        await opened().keep(PNG)
    with pytest.raises(ResultUnavailable, match=expected):
        await opened().sweep()
    assert await read(opened(), "a" * 43 + ".png") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_folder_without_permission_is_named_to_the_operator(opened: Opened, folder: Path) -> None:
    make(folder, 0o500)
    with pytest.raises(ResultUnavailable, match=r"Permission denied; make images\.dir a folder that the gateway may"):
        await opened().keep(PNG)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device; free space there, or lower images.keep_max"),
        (errno.EROFS, "Read-only file system; make images.dir a folder that the gateway may write to"),
    ],
)
async def test_a_full_disk_leaves_nothing_behind(
    opened: Opened, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    images = opened()
    kept = await images.keep(PNG)

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(ResultUnavailable, match=re.escape(f"{folder}: {advice}")):
            await images.keep(GIF)
    assert names(folder) == {kept}
    assert await read(images, await images.keep(GIF)) == (GIF, "image/gif")


async def test_the_machines_own_clock_will_do(tmp_path: Path) -> None:
    images = KeptImages(tmp_path / "images", 60, 1000)
    try:
        name = await images.keep(PNG)
        assert await images.sweep() == 0
        assert await read(images, name) == (PNG, "image/png")
    finally:
        await images.close()


class TestOpenFolders:
    """A folder that other users can look into shows them the names, which are all that guards the pictures."""

    async def test_one_of_our_own_is_closed(self, tmp_path: Path) -> None:
        folder = tmp_path / "images"
        images = KeptImages(folder, HOUR, 10_000)
        name = await images.keep(PNG)
        assert await images.close_off() == "", "it was made closed"
        folder.chmod(0o755)
        assert "mode 0755" in await images.close_off()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert await read(images, name) is not None
        await images.close()

    @pytest.mark.parametrize("mode", [0o755, 0o1777])
    async def test_one_that_is_shared_is_told_of_and_left_to_the_others(self, tmp_path: Path, mode: int) -> None:
        (tmp_path / "letters.txt").touch()
        tmp_path.chmod(mode)
        images = KeptImages(tmp_path, HOUR, 10_000)
        assert "a folder of its own" in await images.close_off()
        assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
        await images.close()

    async def test_an_empty_one_that_all_may_write_to_stays_as_it_is(self, tmp_path: Path) -> None:
        """Such as /tmp, by root."""
        tmp_path.chmod(0o1777)
        images = KeptImages(tmp_path, HOUR, 10_000)
        assert "mode 1777" in await images.close_off()
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
        await images.close()

    async def test_one_that_is_not_ours_is_told_of(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        tmp_path.chmod(0o755)
        images = KeptImages(tmp_path, HOUR, 10_000)
        monkeypatch.setattr(os, "chmod", forbidden)
        assert f"chmod 700 {tmp_path}" in await images.close_off()
        await images.close()

    async def test_one_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        images = KeptImages(tmp_path / "images", HOUR, 10_000)
        assert await images.close_off() == ""
        assert not (tmp_path / "images").exists()
        await images.close()


@pytest.mark.parametrize(
    "data", [b"<html><script>alert(1)</script>", b"<svg onload=alert(1)>", b"GIF89a", b"", b"\xff\xd8\xff\xe0"]
)
async def test_a_file_that_is_not_what_its_name_says_is_not_handed_out(
    opened: Opened, folder: Path, data: bytes
) -> None:
    """Put there by another program that may write to the folder."""
    images = opened()
    name = await images.keep(PNG)
    (folder / name).write_bytes(data)
    assert await images.open(name) is None


async def test_one_keys_images_leave_room_for_the_others(opened: Opened, folder: Path, clock: Wall) -> None:
    images = opened(keep_max=10 * len(PNG))
    bobs = [await images.keep(PNG, "bob") for _ in range(3)]
    for _ in range(40):
        clock.now += 1
        await images.keep(PNG, "alice")
    assert names(folder) >= set(bobs)
    assert len(names(folder)) == 10
    assert len({name[:6] for name in names(folder)}) == 2
