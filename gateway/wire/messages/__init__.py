"""Anthropic's Messages API, told as a chat and back."""
