"""The routes: one file a route, which turns a request into an operation and its result into an answer."""
