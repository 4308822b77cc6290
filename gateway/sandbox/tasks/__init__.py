"""PiAPI's task API: orders checked, tasks run and shown, webhooks delivered."""
