"""The running sandbox: ports, connections, routes, the history of requests and the bill."""
