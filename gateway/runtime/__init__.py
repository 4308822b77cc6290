"""What asyncio lacks: a clock to pass in, tracked tasks, interruption, wakeups."""
