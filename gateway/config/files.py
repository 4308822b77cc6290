"""The reading of a file's text, within bounds, with a problem at the right place where that fails."""

from __future__ import annotations

from pathlib import Path

from gateway.config.problems import Location, Position, Problems

MAX_FILE_BYTES = 4 * 1024**2


def read_text(path: Path, problems: Problems, named_at: Position | None = None, location: Location = ()) -> str | None:
    """The file's text; None if it has none that can be used, and then ``problems`` says why.

    ``named_at``, ``location``: the setting that names the file, where it is told that it cannot be read; without one it
        is told of the file itself.
    """
    file = str(path)
    at = named_at or Position(file)
    subject = f"{file} " if named_at else ""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        problems.add(at, location, f"{subject}cannot be read: {reason}")
        return None
    if len(data) > MAX_FILE_BYTES:
        problems.add(at, location, f"{subject}is larger than {MAX_FILE_BYTES} bytes")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        problems.add(Position(file, line, column), (), "not UTF-8 text; save the file as UTF-8")
        return None
