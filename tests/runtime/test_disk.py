"""Files where a system lacks a call: what is made up for does the same. Modes, and who may change them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateway.runtime import disk

ROOM = 1024 * 1024


@pytest.fixture
def descriptor(tmp_path: Path):
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def test_room_is_reserved_without_posix_fallocate(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    os.write(descriptor, b"content")
    disk.reserve_room(descriptor, 7, ROOM)
    status = os.fstat(descriptor)
    assert (status.st_size, status.st_blocks * 512 >= ROOM) == (ROOM, True), "it is there, not a hole"
    assert disk.read_at(descriptor, 9, 0) == b"content\0\0"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_room_is_written_where_the_file_system_cannot_give_it(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def cannot(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    disk.reserve_room(descriptor, 0, ROOM)
    assert os.fstat(descriptor).st_blocks * 512 >= ROOM


def test_a_full_disk_is_not_filled_further(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        disk.reserve_room(descriptor, 0, ROOM)
    assert os.fstat(descriptor).st_size == 0


@pytest.mark.parametrize("lacking", [(), ("pread", "pwrite"), ("fdatasync",)])
def test_places_in_a_file(descriptor: int, monkeypatch: pytest.MonkeyPatch, lacking: tuple[str, ...]) -> None:
    for name in lacking:
        monkeypatch.delattr(os, name)
    assert disk.write_at(descriptor, b"later", 10) == 5
    assert disk.write_at(descriptor, b"first", 0) == 5
    disk.sync_data(descriptor)
    assert disk.read_at(descriptor, 64, 0) == b"first" + bytes(5) + b"later"
    assert disk.read_at(descriptor, 3, 10) == b"lat"


def test_a_full_sync_is_asked_for_where_there_is_one(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(disk, "_FULL_SYNC", 51)
    monkeypatch.setattr(disk.fcntl, "fcntl", lambda _, number: asked.append(number))
    disk.sync_data(descriptor)
    assert asked == [51]


@pytest.mark.parametrize(("mode", "left"), [(0o644, 0o600), (0o666, 0o600), (0o640, 0o600), (0o755, 0o700)])
def test_what_is_open_to_others_is_closed(tmp_path: Path, mode: int, left: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    assert disk.close_to_others(path) == mode
    assert path.stat().st_mode & 0o7777 == left
    assert disk.close_to_others(path) is None


def test_what_is_not_there_or_is_a_link_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch(mode=0o644)
    (tmp_path / "link").symlink_to(target)
    assert disk.close_to_others(tmp_path / "link") is None
    assert disk.close_to_others(tmp_path / "absent") is None
    assert target.stat().st_mode & 0o777 == 0o644


def test_without_modes_nothing_is_too_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o644)
    monkeypatch.delattr(os, "geteuid")
    assert disk.close_to_others(path) is None
