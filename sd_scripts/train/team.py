"""The processes of one job: one leads and decides, all follow, and none waits for ever.

Processes may differ in what they see (files that appear, signals, the clock), so what changes the
course of a training is decided by the leader alone and shared. Whatever ends the work of one
process reaches all of them at their next meeting, so that the leader can tell it in words.

Meetings have connections of their own (gloo): who waits there for hours, while the leader paints
or encodes, keeps no graphics card busy and is not taken for hung.
"""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from accelerate.state import PartialState
from torch import Tensor, nn

from sd_scripts.errors import Problem, UserError, raise_if_errors
from sd_scripts.runs.seat import Seat
from sd_scripts.runs.sharding import Sharding

T = TypeVar("T")

_LONGEST_WAIT: Final = timedelta(days=30)
"""Of those who wait for the leader: it may be paused, or paint and encode for days."""
_FAREWELL: Final = timedelta(seconds=20)
"""So long a process that failed waits for the others, to tell them why."""
_OUT_OF_MEMORY: Final = ("OutOfMemoryError", "MemoryError")
_LETTER_BYTES: Final = 1024
_LENGTH_BYTES: Final = 8
_BUCKET_NUMBERS: Final = 1 << 24
"""So many numbers are averaged at a time: enough to be fast, few enough for the memory."""
_LOST: Final = ("closed", "reset", "Timed out", "timed out", "timeout", "NCCL")
"""Words of gloo and NCCL about a process that does not answer."""
_MILD: Final = ("StopRequested", "BrokenPictures")
"""Errors that only interrupt the work, the more urgent first; every other one is a failure."""


@dataclass(frozen=True)
class Failure:
    """What interrupted a process: the kind of its error, its problems, or where a fault was."""

    process: int
    machine: str
    kind: str
    text: str
    problems: tuple[Problem, ...] = ()
    trace: str = ""

    @classmethod
    def of(cls, error: Exception, process: int) -> Failure:
        """Describe an error of this process."""
        problems = error.problems if isinstance(error, UserError) else ()
        trace = "" if problems else "".join(traceback.format_exception(error))
        lines = str(error).splitlines() or [""]
        kind, machine = type(error).__name__, socket.gethostname()
        return cls(process, machine, kind, lines[0], problems, trace)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Failure:
        """Take back what `asdict` gave."""
        problems = tuple(Problem(**problem) for problem in values["problems"])
        return cls(**{**values, "problems": problems})

    @property
    def urgency(self) -> int:
        """The order in which failures of several processes count, 0 first."""
        return _MILD.index(self.kind) + 1 if self.kind in _MILD else 0


class OtherFailed(Exception):
    """Another process cannot go on, and so neither can this one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind} in process {failure.process}: {failure.text}")
        self.failure = failure

    def in_words(self) -> Exception:
        """Return the error to tell in the place of the other process."""
        failure = self.failure
        where = f"Process {failure.process} on {failure.machine}"
        if failure.kind in _OUT_OF_MEMORY:
            return torch.OutOfMemoryError(f"{where}: {failure.text}")
        if not failure.problems:
            return RuntimeError(f"{where}: {failure.kind}: {failure.text}\n{failure.trace}")
        return UserError.of(
            Problem(f"{where}: {one.message}", one.option, one.hint, one.severity)
            for one in failure.problems
        )


def kind_of(error: Exception) -> str:
    """Return the kind of an error, wherever it came up."""
    return error.failure.kind if isinstance(error, OtherFailed) else type(error).__name__


class Deserted(UserError):
    """Another process has ended without a word, or does not answer any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"Another process of this run {reason}",
            hint="Look for its last words in the log of its machine. Without any, the system has "
            "probably ended it since the memory was full: cache_latents, "
            "gradient_checkpointing or a smaller batch help.",
        )


@contextmanager
def lost_in_words() -> Iterator[None]:
    """Say in words what PyTorch says of a process that is gone, while tensors are exchanged."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if any(sign in str(error) for sign in _LOST):
            raise Deserted(f"is gone: {error}") from error
        raise


@dataclass
class _Talk:
    """Letters of all processes to all."""

    group: Any
    size: int

    def exchange(self, letter: bytes, limit: timedelta | None) -> list[bytes]:
        """Return everybody's letter, by rank. Raises `RuntimeError` if somebody is gone."""
        lengths_and_starts = self._gather(_sealed(letter, _LETTER_BYTES), limit)
        lengths = [int.from_bytes(one[:_LENGTH_BYTES], "little") for one in lengths_and_starts]
        longest = max(lengths) + _LENGTH_BYTES
        whole = lengths_and_starts
        if longest > _LETTER_BYTES:
            whole = self._gather(_sealed(letter, longest), limit)
        pairs = zip(whole, lengths, strict=True)
        return [one[_LENGTH_BYTES : _LENGTH_BYTES + length] for one, length in pairs]

    def _gather(self, data: bytes, limit: timedelta | None) -> list[bytes]:
        own = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        found = [torch.empty_like(own) for _ in range(self.size)]
        work = dist.all_gather(found, own, group=self.group, async_op=True)
        assert work is not None, "this process is of the group"
        work.wait(limit) if limit else work.wait()
        return [one.numpy().tobytes() for one in found]


def _sealed(letter: bytes, size: int) -> bytes:
    """Return a letter's length and the letter, cut or filled to `size` bytes."""
    data = len(letter).to_bytes(_LENGTH_BYTES, "little") + letter
    return data[:size].ljust(size, b"\0")


@dataclass
class Team:
    """All processes of a job, seen from one. Unless said otherwise, all call a method together."""

    seat: Seat = field(default_factory=Seat)
    timeout: timedelta = timedelta(minutes=30)
    sharding: Sharding = field(default_factory=Sharding)
    _talk: _Talk | None = None
    _told: bool = False

    @classmethod
    def form(cls, timeout_minutes: int | None) -> Team:
        """Meet the other processes that were started with this one, if there are any.

        Raises `UserError` if they do not come, or were started in a way that is not supported.
        """
        seat, timeout = Seat.of(os.environ), timedelta(minutes=timeout_minutes or 30)
        sharding = Sharding.take(os.environ)
        raise_if_errors(sharding.problems)
        if seat.size == 1:
            return cls(seat, timeout)
        on_cpu = not torch.cuda.is_available() and not torch.xpu.is_available()
        # Windows has no NCCL; accelerate would ask for it wherever there is a graphics card.
        lacks_nccl = torch.cuda.is_available() and not dist.is_nccl_available()
        backend = {"backend": "gloo"} if on_cpu or lacks_nccl else {}
        try:
            state = PartialState(cpu=on_cpu, timeout=timeout, **backend)
            group = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"The {seat.size} processes of this run cannot reach each other: {error}",
                hint="Check num_processes, main_process_ip and main_process_port of every "
                "machine, and what stands between them (docs/several-processes.md).",
            ) from error
        assert state.num_processes == seat.size, "accelerate counts as the launcher does"
        return cls(seat, timeout, sharding, _Talk(group, seat.size))

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.seat.size

    @property
    def leads(self) -> bool:
        """Whether this process writes, reports and decides."""
        return self.seat.leads

    @property
    def told(self) -> bool:
        """Whether the others know what ended this process."""
        return self._told

    def exchange(self, value: Any = None, *, limit: timedelta | None = None) -> list[Any]:
        """Return what every process gave (values as JSON knows them), by rank.

        The leader waits for `limit` at the most. Raises `OtherFailed` if another process could
        not come for an error of its own, `Deserted` if it is gone.
        """
        if self._talk is None:
            return [value]
        letters = self._meet({"value": value}, limit if self.leads else None)
        failures = [Failure.read(one["failure"]) for one in letters if "failure" in one]
        if failures:
            raise OtherFailed(min(failures, key=lambda one: one.urgency))
        return [one["value"] for one in letters]

    def share(self, value: T) -> T:
        """Return the leader's value in every process."""
        shared: T = self.exchange(value if self.leads else None)[0]
        return shared

    def agree(self, error: Exception) -> Exception:
        """Tell the others of an error, at once; returns the one that counts in all processes.

        It is called by a process that fails, while the others call anything. What they told
        already is returned as it is.
        """
        if self._talk is None or isinstance(error, OtherFailed | Deserted):
            return error
        own = Failure.of(error, self.seat.rank)
        # The leader may be painting or saving; a dead one closes the connection at once.
        # One that waits for this one's piece of the weights cannot come before it is let go.
        patience = _FAREWELL if self.leads or self.sharding.on else self.timeout
        try:
            letters = self._meet({"failure": asdict(own)}, None if own.kind in _MILD else patience)
        except Deserted:
            return error
        self._told = True
        failures = [Failure.read(one["failure"]) for one in letters if "failure" in one]
        worst = min(failures, key=lambda one: one.urgency)
        return error if worst.process == self.seat.rank else OtherFailed(worst)

    def _meet(self, letter: dict[str, Any], limit: timedelta | None) -> list[dict[str, Any]]:
        assert self._talk is not None, "a single process has nobody to meet"
        try:
            found = self._talk.exchange(json.dumps(letter).encode(), limit)
        except RuntimeError as error:
            closed = "closed" in str(error) or "reset" in str(error)
            reason = "has ended without a word" if closed else f"does not answer: {error}"
            raise Deserted(reason) from error
        return [json.loads(one) for one in found]

    def leader_first(self, work: Callable[[], T]) -> T:
        """Let one process of each machine do work that leaves files, then the others find them."""
        first = self.seat.local_rank == 0
        result = [work()] if first else []
        self.exchange()
        return result[0] if first else work()

    def first_only(self, work: Callable[[], None]) -> None:
        """Let one process of each machine do work; the others wait for its end."""
        if self.seat.local_rank == 0:
            work()
        self.exchange()

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor (of the CPU) over all processes."""
        added = torch.zeros_like(value)
        for one in self.exchange(value.double().tolist()):
            added += torch.tensor(one, dtype=value.dtype)
        return added

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes; not a number if it is none in any."""
        if self.size == 1:
            return value
        # Divided first: the sum of fp16 gradients could be too large for the format.
        averaged = value.detach() / self.size
        try:
            dist.all_reduce(averaged)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise Deserted(f"is gone: {error}") from error
        return averaged

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every process the mean gradient of all, some tensors at a time.

        A missing gradient counts as zero: processes need not have used the same parameters.
        """
        bucket: list[nn.Parameter] = []
        held = 0
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if bucket and (
                held >= _BUCKET_NUMBERS
                or parameter.dtype != bucket[0].dtype
                or parameter.device != bucket[0].device
            ):
                self._average(bucket)
                bucket, held = [], 0
            bucket.append(parameter)
            held += parameter.numel()
        self._average(bucket)

    def _average(self, bucket: Sequence[nn.Parameter]) -> None:
        gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
        if not gradients:
            return
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def send(self, data: memoryview, block: int) -> None:
        """Send bytes to the leader, who calls `receive` meanwhile, `block` at a time."""
        assert self._talk is not None, "a single process has nobody to send to"
        for start in range(0, len(data), block):
            part = torch.frombuffer(data[start : start + block], dtype=torch.uint8)
            with lost_in_words():
                dist.send(part, 0, group=self._talk.group)

    def receive(self, rank: int, size: int, block: int) -> Iterator[bytes]:
        """Yield what a process sends to the leader, `block` bytes at a time."""
        assert self._talk is not None, "a single process has nobody to hear from"
        for start in range(0, size, block):
            part = torch.empty(min(block, size - start), dtype=torch.uint8)
            with lost_in_words():
                dist.recv(part, rank, group=self._talk.group)
            yield part.numpy().tobytes()

    def start_alike(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every process the leader's weights: machines need not draw or read the same."""
        if self.size == 1:
            return
        self.exchange()
        for parameter in parameters:
            data = parameter.data.contiguous()
            dist.broadcast(data, 0)
            parameter.data.copy_(data)

    def leave(self) -> None:
        """End the connections, once nothing is left to be told."""
        if self._talk is not None and dist.is_initialized():
            self._talk = None
            dist.destroy_process_group()
