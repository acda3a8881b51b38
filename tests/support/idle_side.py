"""A side of a benchmark whose steps do next to nothing."""

from __future__ import annotations

from tools.turns import serve


class Idle:
    """A step of the loop `name`."""

    name = ""

    def __call__(self) -> None:
        """Keep the processor busy for a moment, so that there is something to divide by."""
        sum(range(10_000))


if __name__ == "__main__":
    serve(Idle, settle=lambda: None)
