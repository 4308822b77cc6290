"""Images around a request: orders for them, masks, results fetched and kept."""
