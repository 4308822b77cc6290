"""Where the log goes and how it looks, by the configuration."""

from __future__ import annotations

import sys

from gateway.config import Config
from gateway.telemetry.log import Log
from gateway.telemetry.log_file import LogFile
from gateway.telemetry.redaction import Redactor


def build_log(config: Config) -> Log:
    """The log of the configuration, its secrets struck out: in the file it names, else on standard error; unless it
    says otherwise as text for a terminal, else as JSON.

    Raises OperatorError for a file that cannot be written.
    """
    redactor = Redactor(config.secrets, config.upstream_hosts)
    settings = config.log
    if settings.file is not None:
        file = LogFile(settings.file)
        return Log("text" if settings.format == "text" else "json", settings.level, redactor, file=file)
    format = settings.format
    if format == "auto":
        format = "text" if sys.stderr.isatty() else "json"
    return Log(format, settings.level, redactor, sys.stderr)
