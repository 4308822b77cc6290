"""Pure conversations: one file per (client operation × upstream dialect)."""
