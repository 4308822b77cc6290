"""Programs run as a person runs them: by a command, or typed to in a pseudo-terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[\[(<>=?][0-9;:?<>=!]*[ -/]*[@-~]?|\x1b.|[\r\x00-\x08\x0e-\x1f]"
)
PATIENCE = 60


class CommandError(Exception):
    """A command that ended with an error; the text is all that it printed."""


def command(line, environment):
    """What a command printed, errors behind the rest. Raises CommandError."""
    done = subprocess.run(
        line,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    print(line, done.stdout, done.stderr)
    if done.returncode:
        raise CommandError(plain(done.stdout + done.stderr))
    return plain(done.stdout)


def plain(text):
    return ESCAPES.sub("", text)


def typed(line, environment, *, until, linger=0.0):
    """What a program showed in a terminal until it ended, or ``linger`` seconds after ``until`` held of it."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(line[0], line, {**os.environ, **environment})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    shown, ends, met = "", time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < ends:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    read = os.read(terminal, 65536)
                except OSError:
                    return plain(shown)
                shown += read.decode(errors="replace")
                if b"\x1b[6n" in read:  # the program asks where the cursor is
                    os.write(terminal, b"\x1b[1;1R")
            if not met and until(plain(shown)):
                met, ends = True, time.monotonic() + linger
        if met:
            return plain(shown)
        raise TimeoutError(plain(shown)[-3000:])
    finally:
        print(shown)
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)
