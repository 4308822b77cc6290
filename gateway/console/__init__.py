"""The console: pages for people on the admin listener, made here and working without a script."""
