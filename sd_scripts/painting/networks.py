"""Networks on a model that paints: merged into its weights, and taken out again without a trace.

Merging takes any kind of network, several at once, and costs nothing while it is painted. What a
weight was before is kept in main memory for as long as something is merged into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from sd_scripts.errors import Problem, UserError
from sd_scripts.families.base import LoadedModel
from sd_scripts.families.recognise import FAMILY_TITLES, recognise
from sd_scripts.methods.base_weights import merge_into, misplaced, parts_for
from sd_scripts.methods.embedding import NewWord
from sd_scripts.painting.orders import NetworkUse, WordUse
from sd_scripts.weights.headers import read_header
from sd_scripts.weights.network_file import NetworkFile, network_from_tensors, read_network

OPTION: Final = "networks"
WORDS_OPTION: Final = "words"


class Networks:
    """The networks that act on one model now."""

    def __init__(self, model: LoadedModel) -> None:
        self._family = model.family.name
        self._modules: dict[str, nn.Module] = {
            layer.name: layer.module for layer in model.family.network_layers(model)
        }
        self._kept: dict[str, dict[str, Tensor]] = {}
        self._files: dict[str, tuple[tuple[int, int], NetworkFile]] = {}
        self._acting: list[tuple[NetworkFile, float]] = []

    def problems(self, path: str) -> list[Problem]:
        """Tell from its header how a file does not fit the model. Raises `UserError`."""
        file = Path(path).expanduser()
        header = read_header(file, OPTION)
        kind = recognise(header.tensors)
        if kind.kind == "embedding":
            hint = "Add it as an embedding, with the word that stands for it."
            return [Problem(f"{file.name} is {kind.what}, not a network", OPTION, hint)]
        if kind.family is not None and kind.family != self._family:
            made_for, base = (FAMILY_TITLES[one] for one in (kind.family, self._family))
            hint = f"Choose a network for {base}, or a base model that is {made_for}."
            text = f"{file.name} was made for {made_for}, and the base model is {base}"
            return [Problem(text, OPTION, hint)]
        names = dict.fromkeys(header.tensors, torch.empty(0))
        found = network_from_tensors(names, self._family)
        return misplaced(found, file.name, self._modules, OPTION, has_text=True)

    def apply(self, uses: Sequence[NetworkUse]) -> None:
        """Let exactly these networks act. Raises `UserError`, with none acting then."""
        acting = [(self._read(use.path), use.strength) for use in uses if use.strength]
        used = {str(Path(use.path).expanduser()) for use in uses}
        self._files = {path: file for path, file in self._files.items() if path in used}
        same = len(acting) == len(self._acting) and all(
            new[0] is old[0] and new[1] == old[1]
            for new, old in zip(acting, self._acting, strict=True)
        )
        if same:
            return
        self._acting = []
        try:
            for name, module in self._modules.items():
                self._change(name, module, acting)
        except (ValueError, RuntimeError) as error:
            self.remove()
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise UserError(
                f"A network does not fit the model: {str(error).splitlines()[0]}",
                option=OPTION,
                hint="Choose networks that were made for models of the same family.",
            ) from error
        self._acting = acting

    def remove(self) -> None:
        """Give every weight back exactly as it was."""
        self._acting = []
        for name, module in self._modules.items():
            self._change(name, module, [])

    def _change(
        self, name: str, module: nn.Module, acting: Sequence[tuple[NetworkFile, float]]
    ) -> None:
        parts = [(found, s) for file, s in acting if (found := parts_for(file, name)) is not None]
        kept = self._kept.get(name)
        if kept is not None:
            _put_back(module, kept)
        if not parts:
            self._kept.pop(name, None)
            return
        if kept is None:
            self._kept[name] = {
                key: tensor.detach().to("cpu", copy=True)
                for key, tensor in module.named_parameters(recurse=False)
            }
        try:
            merge_into(module, parts)
        except (ValueError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ValueError(f"{name}: {error}") from error

    def _read(self, path: str) -> NetworkFile:
        """Read a file, unless it was read before and has not changed since."""
        file = Path(path).expanduser()
        try:
            facts = file.stat()
        except OSError as error:
            raise UserError(
                f"{file} cannot be read: {error.strerror or error}",
                option=OPTION,
                hint="Check that the file is there.",
            ) from error
        stamp = (facts.st_mtime_ns, facts.st_size)
        known = self._files.get(str(file))
        if known is None or known[0] != stamp:
            known = (stamp, read_network(file, self._family, OPTION))
            self._files[str(file)] = known
        return known[1]


@torch.no_grad()
def _put_back(module: nn.Module, kept: dict[str, Tensor]) -> None:
    for key, parameter in module.named_parameters(recurse=False):
        parameter.copy_(kept[key])


class Words:
    """The new words that a model reads now, each from its embedding file."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._uses: tuple[tuple[str, str, int], ...] = ()
        self._words: list[NewWord] = []

    def apply(self, uses: Sequence[WordUse]) -> None:
        """Let exactly these words be read. Raises `UserError`, with none of them read then."""
        wanted = tuple((use.spelled, use.path, _time_of(use.path)) for use in uses)
        if wanted == self._uses:
            return
        self.remove()
        try:
            for word, path, _ in wanted:
                self._words.append(
                    NewWord.from_file(word, Path(path).expanduser(), self._model, WORDS_OPTION)
                )
        except UserError:
            self.remove()
            raise
        self._uses = wanted

    def remove(self) -> None:
        """Give the model its own tables and tokenizers back."""
        self._uses = ()
        while self._words:
            self._words.pop().detach()


def _time_of(path: str) -> int:
    try:
        return Path(path).expanduser().stat().st_mtime_ns
    except OSError:
        return 0  # reading it tells what is wrong
