"""Answers of the Responses API that are kept for the keys that they were made for."""
