"""From what a person fills in to an order: prompts × seeds, or checkpoints × strengths too."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sd_scripts.options.groups.saving import SamplerName
from sd_scripts.painting.orders import (
    MAX_PICTURES,
    BaseChoice,
    NetworkUse,
    Order,
    Picture,
    WordUse,
)

MAX_STRENGTH: Final = 3.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Grid(_Part):
    """Files to compare, each at several strengths."""

    files: tuple[str, ...] = Field(min_length=1, max_length=100)
    strengths: tuple[float, ...] = Field(min_length=1, max_length=20)


class ChosenNetwork(_Part):
    """A network that acts on all pictures."""

    path: str = Field(min_length=1)
    strength: float = Field(ge=-MAX_STRENGTH, le=MAX_STRENGTH)


class Wish(_Part):
    """A filled-in page. `pictures` is how many seeds each prompt gets, counted up from `seed`."""

    base: BaseChoice
    prompts: tuple[str, ...] = Field(min_length=1, max_length=100)
    negative: str = ""
    width: int = Field(ge=64, le=4096, multiple_of=8)
    height: int = Field(ge=64, le=4096, multiple_of=8)
    steps: int = Field(ge=1, le=200)
    scale: float = Field(ge=0, le=50)
    sampler: SamplerName
    seed: int = Field(ge=0, le=2**32 - 1)
    pictures: int = Field(default=1, ge=1, le=64)
    networks: tuple[ChosenNetwork, ...] = Field(default=(), max_length=20)
    words: tuple[WordUse, ...] = Field(default=(), max_length=20)
    grid: Grid | None = None
    origin: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that is read, the base's own aside."""
        named = [network.path for network in self.networks] + [word.path for word in self.words]
        return (*named, *(self.grid.files if self.grid else ()))

    def order(self) -> Order:
        """Return the order, at most `MAX_PICTURES` long. Raises `ValueError`."""
        return Order(
            base=self.base,
            pictures=tuple(self._plain() if self.grid is None else self._compared(self.grid)),
            title=self.prompts[0][:300],
            origin=self.origin,
        )

    @property
    def num_pictures(self) -> int:
        """How many pictures that is."""
        cells = len(self.grid.files) * len(self.grid.strengths) if self.grid else 1
        return cells * len(self.prompts) * self.pictures

    def _fixed(self) -> tuple[NetworkUse, ...]:
        return tuple(NetworkUse(path=one.path, strength=one.strength) for one in self.networks)

    def _seeds(self) -> list[int]:
        return [(self.seed + number) % 2**32 for number in range(self.pictures)]

    def _plain(self) -> list[Picture]:
        return [
            self._picture(prompt, seed, self._fixed(), "", "")
            for prompt, seed in product(self.prompts, self._seeds())
        ]

    def _compared(self, grid: Grid) -> list[Picture]:
        """Rows are files and columns strengths; networks change as rarely as can be."""
        cells = product(grid.files, grid.strengths)
        return [
            self._picture(
                prompt,
                seed,
                (*self._fixed(), NetworkUse(path=file, strength=strength)),
                Path(file).stem,
                f"{strength:g}",
            )
            for file, strength in cells
            for prompt, seed in product(self.prompts, self._seeds())
        ]

    def _picture(
        self, prompt: str, seed: int, networks: tuple[NetworkUse, ...], row: str, column: str
    ) -> Picture:
        return Picture(
            prompt=prompt,
            negative_prompt=self.negative,
            width=self.width,
            height=self.height,
            sample_steps=self.steps,
            scale=self.scale,
            seed=seed,
            sample_sampler=self.sampler,
            networks=networks,
            words=self.words,
            row=row,
            column=column,
            group=prompt if self.pictures == 1 else f"{prompt} · {seed}",
        )


def wrong_fields(error: ValidationError) -> list[str]:
    """Return the names of what a person has to mend, as the page calls them."""
    return sorted({str(fault["loc"][0]) if fault["loc"] else "wish" for fault in error.errors()})


def too_many(wish: Wish) -> bool:
    """Tell whether more pictures are wished for than one order may have."""
    return wish.num_pictures > MAX_PICTURES
