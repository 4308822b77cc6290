"""The service for images: orders for them, masks, results fetched and kept."""
