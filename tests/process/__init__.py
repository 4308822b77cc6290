"""The command as a user runs it: real processes, real signals, real sockets."""
