"""The SQLite engine: one file, one writer's thread, readers beside it."""
