"""The scenarios: which one a request meets, and the steps in which each plays its answer."""
