"""Answers of jobs on the disk: for their owner alone, bounded, and none of another's removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.core.errors import UpstreamFault
from gateway.jobs.answers import IN_THE_ROW, AnswerFiles, headers_of
from gateway.stores.job_records import StoredResult

HEADERS = ((b"x-gateway-upstream", b"piapi"), (b"x-gateway-note", b"caf\xe9"))
SMALL, LARGE = b"x" * IN_THE_ROW, b"y" * (IN_THE_ROW + 1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def job(number: int) -> str:
    return f"job_{number:032x}"


@pytest.mark.parametrize("body", [b"", b"{}", SMALL, LARGE])
async def test_come_back_as_they_were(body: bytes, tmp_path: Path) -> None:
    files = AnswerFiles(tmp_path / "jobs", 1 << 20)
    kept = await files.keep(job(1), 200, HEADERS, body)
    assert await files.read(kept) == body
    assert tuple(headers_of(kept)) == HEADERS
    assert (kept.place is None, kept.size) == (len(body) <= IN_THE_ROW, len(body))


async def test_are_for_their_owner_alone(tmp_path: Path) -> None:
    files = AnswerFiles(tmp_path / "jobs", 1 << 20)
    kept = await files.keep(job(1), 200, (), LARGE)
    assert kept.place is not None
    assert [os.stat(path).st_mode & 0o777 for path in (tmp_path / "jobs", tmp_path / "jobs" / kept.place)] == [
        0o700,
        0o600,
    ]


async def test_that_are_too_much_make_room_the_oldest_first(tmp_path: Path) -> None:
    files = AnswerFiles(tmp_path, 2 * len(LARGE))
    kept = []
    for number in (1, 2, 3):
        kept.append(await files.keep(job(number), 200, (), LARGE))
        os.utime(tmp_path / f"{job(number)}.answer", ns=(number, number))
    assert names(tmp_path) == [f"{job(2)}.answer", f"{job(3)}.answer"]
    with pytest.raises(UpstreamFault) as gone:
        await files.read(kept[0])
    assert (gone.value.code, gone.value.should_retry) == ("result_unavailable", False)


async def test_are_removed_by_their_names_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    files = AnswerFiles(tmp_path / "jobs", 1 << 20)
    kept = await files.keep(job(1), 200, (), LARGE)
    assert kept.place is not None
    await files.remove([kept.place, "../precious", f"{job(2)}.answer"])
    await files.remove([])
    assert names(tmp_path / "jobs") == []
    assert names(tmp_path) == ["jobs", "precious"]
    with pytest.raises(UpstreamFault):
        await files.read(StoredResult(200, b"[]", None, "../precious", 0))


async def test_of_no_known_job_are_removed_once_they_are_old(tmp_path: Path) -> None:
    files = AnswerFiles(tmp_path, 1 << 20)
    for number in (1, 2, 3):
        await files.keep(job(number), 200, (), LARGE)
    (tmp_path / f"{job(4)}.answer.part").write_bytes(b"torn")
    (tmp_path / "other").write_bytes(b"")
    for name, at in ((f"{job(1)}.answer", 5), (f"{job(2)}.answer", 5), (f"{job(4)}.answer.part", 5), ("other", 5)):
        os.utime(tmp_path / name, ns=(at, at))
    await files.tidy({f"{job(2)}.answer"}, 10)
    assert names(tmp_path) == [f"{job(2)}.answer", f"{job(3)}.answer", "other"]


async def test_a_folder_that_is_not_there_is_tidy(tmp_path: Path) -> None:
    await AnswerFiles(tmp_path / "none", 1).tidy([], 10)
    assert names(tmp_path) == []
