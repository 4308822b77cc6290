"""Additions to asyncio: a clock to pass in, tracked tasks, interruption, wakeups."""
