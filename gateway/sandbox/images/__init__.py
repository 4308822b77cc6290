"""Images: real PNGs, the Images API, and gpt-4o-image's links in the text of a chat."""
