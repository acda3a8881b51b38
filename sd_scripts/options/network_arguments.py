"""The values of `network_args`: typed, with the defaults of the network's table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sd_scripts.options.key_values import parse_value, split_pair
from sd_scripts.options.network_table import NetworkEntry


@dataclass(frozen=True)
class NetworkArguments:
    """Arguments by name. Asking one that the network does not have gives None or False."""

    values: Mapping[str, object]

    @classmethod
    def of(cls, entry: NetworkEntry, pairs: Iterable[str]) -> NetworkArguments:
        """The arguments that "name=value" texts give, and the others' defaults."""
        defaults = {argument.name: argument.default for argument in entry.arguments}
        texts = {argument.name for argument in entry.arguments if argument.kind == "text"}
        given = {
            name: text if name in texts else parse_value(text)
            for name, text in map(split_pair, pairs)
        }
        return cls({**defaults, **given})

    def number(self, name: str) -> float | None:
        """A number, or None if it is not set."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else None

    def whole(self, name: str) -> int | None:
        """A whole number, or None if it is not set."""
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    def flag(self, name: str) -> bool:
        """Whether an argument is on."""
        return self.values.get(name) is True

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """A list of numbers, or None if it is not set."""
        value = self.values.get(name)
        if isinstance(value, tuple | list):
            return tuple(float(number) for number in value)
        return (float(value),) if isinstance(value, int | float) else None

    def text(self, name: str) -> str | None:
        """A text, or None if it is not set."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value.lower() != "none" else None
