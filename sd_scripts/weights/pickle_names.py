"""The tensors a PyTorch pickle holds, found by walking its opcodes: nothing in it is executed.

A small stack machine follows `pickletools.genops`. Calls are not made but recorded: the ones that
rebuild tensors become their dtype and shape, all others become an opaque mark.
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from sd_scripts.errors import UserError
from sd_scripts.weights.headers import Header, TensorInfo

MAX_PICKLE_BYTES: Final = 256_000_000
_STORAGES: Final = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}
# What PyTorch's weights-only reader takes by itself, as far as model files use it.
_HARMLESS: Final = re.compile(
    r"collections\.OrderedDict"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.(\w+Storage|Tensor|Size|device|float\d+|bfloat16|int\d+|uint8|bool)"
    r"|torch\.storage\.\w*Storage|torch\.nn\.parameter\.Parameter"
    r"|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|int|float|complex)"
)
# Marks of training that old checkpoints carry; they are read as inert placeholders.
INERT_GLOBALS: Final = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Tensor:
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Storage:
    dtype: str


_OPAQUE: Final = object()
_MARK: Final = object()


@dataclass
class _Machine:
    """The pickle machine's stack and memo, with every call replaced by a record of it."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def since_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise ValueError("no mark")

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("stack too short")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def named(self, name: str) -> _Global:
        self.names.add(name)
        return _Global(name)


def _called(function: Any, arguments: Any) -> Any:
    """Return what a call stands for: a tensor, a mapping, or nothing to be known."""
    name = function.name if isinstance(function, _Global) else ""
    given = arguments if isinstance(arguments, tuple) else ()
    if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
        storage, shape = (given + (None,) * 3)[0], (given + (None,) * 3)[2]
        if isinstance(storage, _Storage) and isinstance(shape, tuple):
            return _Tensor(storage.dtype, shape)
    elif name.startswith("torch._utils._rebuild_parameter") and given:
        return given[0]
    elif name == "torch._tensor._rebuild_from_type_v2" and len(given) > 2:
        return _called(given[0], given[2])
    elif name == "collections.OrderedDict":
        return {}
    return _OPAQUE


def _persistent(reference: Any) -> Any:
    if isinstance(reference, tuple) and len(reference) > 1 and reference[0] == "storage":
        kind = reference[1]
        if isinstance(kind, _Global):
            return _Storage(_STORAGES.get(kind.name.rpartition(".")[2], "U8"))
    return _OPAQUE


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1] if machine.stack else _OPAQUE
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=False):
            if isinstance(key, str | int):
                target[key] = value


def _build(machine: _Machine) -> None:
    """BUILD sets an object's state; a module's or dictionary's attributes are of no interest."""
    (state,) = machine.pop(1)
    if machine.stack and machine.stack[-1] is _OPAQUE and isinstance(state, dict):
        machine.stack[-1] = state


def _stack_global(machine: _Machine) -> None:
    module, name = machine.pop(2)
    machine.stack.append(machine.named(f"{module}.{name}"))


def _reduce(machine: _Machine) -> None:
    function, arguments = machine.pop(2)
    machine.stack.append(_called(function, arguments))


def _object(machine: _Machine) -> None:
    machine.since_mark()
    machine.stack.append(_OPAQUE)


def _new_object(machine: _Machine) -> None:
    machine.pop(3)
    machine.stack.append(_OPAQUE)


_ACTIONS: Final[dict[str, Callable[[_Machine], object]]] = {
    "MARK": lambda m: m.stack.append(_MARK),
    "POP": lambda m: m.pop(1),
    "POP_MARK": lambda m: m.since_mark(),
    "DUP": lambda m: m.stack.append(m.stack[-1]),
    "NONE": lambda m: m.stack.append(None),
    "NEWTRUE": lambda m: m.stack.append(True),
    "NEWFALSE": lambda m: m.stack.append(False),
    "EMPTY_DICT": lambda m: m.stack.append({}),
    "EMPTY_LIST": lambda m: m.stack.append([]),
    "EMPTY_SET": lambda m: m.stack.append(_OPAQUE),
    "EMPTY_TUPLE": lambda m: m.stack.append(()),
    "TUPLE": lambda m: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m: m.stack.append(tuple(m.pop(1))),
    "TUPLE2": lambda m: m.stack.append(tuple(m.pop(2))),
    "TUPLE3": lambda m: m.stack.append(tuple(m.pop(3))),
    "LIST": lambda m: m.stack.append(m.since_mark()),
    "FROZENSET": _object,
    "OBJ": _object,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_object,
    "STACK_GLOBAL": _stack_global,
    "BUILD": _build,
    "BINPERSID": lambda m: m.stack.append(_persistent(m.pop(1)[0])),
    "SETITEM": lambda m: _set_items(m, m.pop(2)),
    "SETITEMS": lambda m: _set_items(m, m.since_mark()),
    "APPEND": lambda m: m.pop(1),
    "APPENDS": lambda m: m.since_mark(),
    "ADDITEMS": lambda m: m.since_mark(),
    "MEMOIZE": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "PROTO": lambda m: None,
    "FRAME": lambda m: None,
    "STOP": lambda m: None,
}
_PUTS: Final = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GETS: Final = frozenset(("GET", "BINGET", "LONG_BINGET"))


def _step(machine: _Machine, name: str, argument: Any) -> None:
    if action := _ACTIONS.get(name):
        action(machine)
    elif name in _PUTS:
        machine.memo[int(argument)] = machine.stack[-1]
    elif name in _GETS:
        machine.stack.append(machine.memo[int(argument)])
    elif name == "GLOBAL":
        machine.stack.append(machine.named(str(argument).replace(" ", ".", 1)))
    elif name == "INST":
        machine.since_mark()
        machine.named(str(argument).replace(" ", ".", 1))
        machine.stack.append(_OPAQUE)
    elif name == "DICT":
        items = machine.since_mark()
        machine.stack.append({})
        _set_items(machine, items)
    elif argument is not None:
        machine.stack.append(argument)
    else:
        raise ValueError(f"opcode {name} is not expected in a model file")


def _walk(file: IO[bytes]) -> tuple[Any, set[str]]:
    """Follow one pickle to its end; return what it stands for and the names it refers to."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(file):
        _step(machine, opcode.name, argument)
    return (machine.stack[-1] if machine.stack else None), machine.names


def _flat(value: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, TensorInfo]]:
    """Yield the tensors of nested mappings; `seen` keeps a mapping that holds itself finite."""
    if isinstance(value, _Tensor):
        yield prefix, TensorInfo(value.dtype, value.shape)
    elif isinstance(value, dict) and id(value) not in seen:
        seen.add(id(value))
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key), seen)


def _read(path: Path) -> tuple[Any, set[str]]:
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                raise ValueError("its end is missing (a broken download?)")
            return _read_legacy(path)
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
        if name is None:
            raise ValueError("it is a zip archive, but not a PyTorch file")
        if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
            raise ValueError("its table of contents is too large to be one")
        return _walk(io.BytesIO(archive.read(name)))


def _read_legacy(path: Path) -> tuple[Any, set[str]]:
    """Read PyTorch's format of before 1.6: magic number, version, system, then the contents."""
    names: set[str] = set()
    with open(path, "rb") as file:
        root, found = _walk(file)
        names |= found
        if isinstance(root, int):
            for _ in range(3):
                root, found = _walk(file)
                names |= found
    return root, names


def read_pickle_header(path: str | os.PathLike[str], option: str | None = None) -> Header:
    """Return a PyTorch file's tensors (inside `state_dict` if it has one), executing nothing.

    Numbers and texts at the top (`global_step` and the like) become metadata. `forbidden` names
    whatever the pickle would call that tensors do not need. Raises `UserError` if the file is
    truncated or damaged, `OSError` if it cannot be read.
    """
    path = Path(path)
    try:
        root, names = _read(path)
    except (ValueError, KeyError, IndexError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(
            f"{path.name} is damaged or not a PyTorch file: {error}",
            option=option,
            hint="download or copy it again; compare its size with the source's",
        ) from error
    top = root if isinstance(root, dict) else {}
    inner = top.get("state_dict")
    tensors = dict(_flat(inner if isinstance(inner, dict) else top, "", set()))
    metadata = {
        str(key): str(value)
        for key, value in top.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }
    allowed = frozenset(INERT_GLOBALS)
    forbidden = sorted(n for n in names if n not in allowed and not _HARMLESS.fullmatch(n))
    return Header(tensors, metadata, tuple(forbidden))
