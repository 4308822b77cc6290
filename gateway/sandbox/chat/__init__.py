"""Chat completions: the message a request gets, whole and in chunks."""
