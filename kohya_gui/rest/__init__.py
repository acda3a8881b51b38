"""The REST way to everything about runs and the queue, for programs; see docs/rest.md."""
