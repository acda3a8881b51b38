"""Orders of pictures: what they say, and the folder in which they pass from asker to painter.

An order is a file in `<run>/orders/new`. The painter claims it by moving it to `orders/taken`: of
an asker who takes his order back and a painter who claims it, exactly one succeeds. A painter that
ends leaves `orders/closed`; an order that was put there just then is taken back by its asker.
Without torch: the page uses this too.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from sd_scripts.files import write_atomic
from sd_scripts.options.groups.saving import SamplerName
from sd_scripts.runs.folder import RunFolder

MAX_PICTURES: Final = 1000
MAX_STRENGTH: Final = 10.0
_ID: Final = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{6}")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkUse(_Record):
    """A LoRA or LyCORIS file and how strongly it acts: 0 not at all, 1 as it was trained."""

    path: str = Field(min_length=1)
    strength: float = Field(default=1.0, ge=-MAX_STRENGTH, le=MAX_STRENGTH)


class WordUse(_Record):
    """An embedding file and the word that stands for it in prompts; empty: the file's name."""

    path: str = Field(min_length=1)
    word: str = Field(default="", max_length=100)

    @property
    def spelled(self) -> str:
        """The word as prompts have it."""
        return self.word or Path(self.path).stem[:100]


class Picture(_Record):
    """One picture to paint. `row`, `column` and `group` are its place in a table, as it is shown.

    Sizes are pixels, in steps of 8.
    """

    prompt: str = Field(max_length=20_000)
    negative_prompt: str = Field(default="", max_length=20_000)
    width: int = Field(ge=64, le=8192, multiple_of=8)
    height: int = Field(ge=64, le=8192, multiple_of=8)
    sample_steps: int = Field(default=25, ge=1, le=1000)
    scale: float = Field(default=7.0, ge=0, le=1000)
    seed: int = Field(ge=0, le=2**63 - 1)
    sample_sampler: SamplerName = "euler_a"
    networks: tuple[NetworkUse, ...] = Field(default=(), max_length=32)
    words: tuple[WordUse, ...] = Field(default=(), max_length=32)
    row: str = ""
    column: str = ""
    group: str = ""


class BaseChoice(_Record):
    """The model that paints, as training options would name it."""

    path: str = Field(min_length=1)
    vae: str | None = Field(default=None, min_length=1)
    clip_skip: int | None = Field(default=None, ge=1, le=12)
    v2: bool | None = None
    v_parameterization: bool | None = None


class Order(_Record):
    """Pictures that are asked for together, painted in this order with one model.

    Pictures with the same networks had best stand together. `origin` says what it was made from
    (the id of a run, say); `folder` is the run that the page is about.
    """

    id: str = Field(default_factory=lambda: new_id(), pattern=_ID)
    created: float = Field(default_factory=time.time)
    base: BaseChoice
    pictures: Annotated[tuple[Picture, ...], Field(min_length=1, max_length=MAX_PICTURES)]
    title: str = Field(default="", max_length=300)
    origin: str = Field(default="", max_length=300)


def new_id() -> str:
    """Return a new order's id; ids sort by the time they were made."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{stamp}-{int(now * 1000) % 1000:03d}-{secrets.token_hex(3)}"


class OrderFolder:
    """The orders of one run folder, for askers and the painter. Making it touches no disk."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        root = run.path / "orders"
        self._new, self._taken, self._cancelled = (
            root / name for name in ("new", "taken", "cancelled")
        )
        self._closed = root / "closed"

    # ---- who asks ----
    def put(self, order: Order) -> None:
        """Ask for pictures. Raises `OSError`."""
        self._new.mkdir(parents=True, exist_ok=True)
        write_atomic(self._new / f"{order.id}.json", order.model_dump_json(indent=1) + "\n")

    def take_back(self, order_id: str) -> bool:
        """Take an order back; False if it was claimed (or never put) before."""
        try:
            (self._new / f"{_checked(order_id)}.json").unlink()
        except FileNotFoundError:
            return False
        return True

    def cancel(self, order_id: str) -> None:
        """Ask for an order to end where it is; nothing happens if it is over. Raises `OSError`."""
        self._cancelled.mkdir(parents=True, exist_ok=True)
        (self._cancelled / _checked(order_id)).touch()

    def waiting(self) -> list[str]:
        """Return the ids of orders that nobody has claimed, oldest first."""
        return _ids(self._new)

    def known(self) -> list[str]:
        """Return the ids of all orders, oldest first."""
        return sorted({*_ids(self._new), *_ids(self._taken)})

    def read(self, order_id: str) -> Order | None:
        """Return an order, claimed or not; None if it is not there. Raises `ValueError`."""
        name = f"{_checked(order_id)}.json"
        for folder in (self._taken, self._new, self._taken):  # it may be claimed just now
            try:
                return Order.model_validate_json((folder / name).read_bytes())
            except FileNotFoundError:
                continue
        return None

    def is_closed(self) -> bool:
        """Tell whether the painter takes no more orders."""
        return self._closed.exists()

    def is_cancelled(self, order_id: str) -> bool:
        """Tell whether somebody asked for this order to end."""
        return (self._cancelled / _checked(order_id)).exists()

    # ---- who paints ----
    def open(self) -> None:
        """Begin to take orders. Raises `OSError`."""
        for folder in (self._new, self._taken, self._cancelled):
            folder.mkdir(parents=True, exist_ok=True)
        self._closed.unlink(missing_ok=True)

    def close(self) -> None:
        """Take no more orders. Raises `OSError`."""
        self._closed.touch()

    def claim(self) -> str | None:
        """Claim the oldest order that waits; None if there is none."""
        for order_id in _ids(self._new):
            try:
                os.replace(self._new / f"{order_id}.json", self._taken / f"{order_id}.json")
            except FileNotFoundError:
                continue  # taken back just now
            return order_id
        return None

    def pictures(self, order_id: str) -> Path:
        """Return the folder of an order's pictures."""
        return self.run.samples / _checked(order_id)


def is_order_id(text: str) -> bool:
    """Tell whether a text can be the id of an order: no path gets through."""
    return _ID.fullmatch(text) is not None


def _checked(order_id: str) -> str:
    if not is_order_id(order_id):
        raise ValueError(f"{order_id!r} is no order")
    return order_id


def _ids(folder: Path) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name[:-5] for name in names if name.endswith(".json") and is_order_id(name[:-5]))
