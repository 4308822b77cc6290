"""The composition: a configuration becomes a running gateway, is reloaded, drained and closed."""
