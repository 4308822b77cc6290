"""``make soak`` in short: four hundred parallel requests of four processes overspend nothing."""

from __future__ import annotations

from pathlib import Path

from soak import budget


async def test_a_crowd_of_four_processes_overspends_nothing(tmp_path: Path) -> None:
    report = await budget.run(tmp_path, 400)

    assert report.ok, report.text()
    assert report.figures["answered image 200"] == "10"
    answered = {name.removeprefix("answered "): int(count) for name, count in report.figures.items() if "429" in name}
    assert budget.refused(answered, "image") == 190
    assert report.figures["overspent"] == "0"
