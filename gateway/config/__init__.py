"""YAML and environment in, a frozen Config out; nothing else reads the environment."""
