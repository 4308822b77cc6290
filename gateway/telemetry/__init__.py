"""The metrics and the log, with secrets masked."""
