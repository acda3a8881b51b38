"""The vectors of a new word beside a text encoder's table, which itself is never touched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from sd_scripts.errors import Problem, UserError
from sd_scripts.methods.new_words import known_word_notes, with_new_word, word_parts
from sd_scripts.options.groups.embedding import EmbeddingOptions
from sd_scripts.weights.embedding_files import KEYS, read_embedding
from sd_scripts.weights.files import save_tensors
from sd_scripts.weights.model_kinds import FamilyName, Owner

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

OWNERS: Final[tuple[Owner, ...]] = ("te1", "te2")


class WordFamily(Protocol):
    """What a new word asks of a model family."""

    @property
    def name(self) -> FamilyName: ...


class WordModel(Protocol):
    """What a new word asks of a loaded model; its tokenizers are replaced by extended copies."""

    @property
    def family(self) -> WordFamily: ...
    @property
    def text_encoders(self) -> Sequence[nn.Module]: ...
    @property
    def tokenizers(self) -> list[CLIPTokenizer]: ...


class ExtendedTable(nn.Module):
    """Looks tokens up: known ones in the frozen table, those from `first_new` on in `rows`.

    `rows` [n, D] are all that learns; the result has the table's dtype. Tokens are [...] int64,
    the result is [..., D].
    """

    def __init__(self, table: Table, rows: nn.Parameter, first_new: int) -> None:
        super().__init__()
        self.table = table
        self.rows = rows
        self.first_new = first_new

    @property
    def weight(self) -> Tensor:
        """The known tokens' rows."""
        return self.table.weight

    @property
    def embedding_dim(self) -> int:
        """The length of a row."""
        return self.table.embedding_dim

    def forward(self, tokens: Tensor) -> Tensor:
        is_new = tokens >= self.first_new
        known: Tensor = self.table(tokens.masked_fill(is_new, 0))
        places = (tokens - self.first_new).clamp(min=0)
        new = functional.embedding(places, self.rows).to(known.dtype)
        return torch.where(is_new[..., None], new, known)


Table = nn.Embedding | ExtendedTable
"""An encoder's own table, or one that reads new words already."""


class NewWord:
    """A new word in a model: its vectors in each text encoder, its tokens in each tokenizer.

    From construction to `detach` the model reads the word; of several, the last one is detached
    first. `rows` holds the vectors [n, D] under the names of the file. The encoders' own tables
    stay as they are; what else of the model is frozen is the caller's affair. Raises `UserError`
    with every problem of the word and its file.
    """

    def __init__(
        self, options: EmbeddingOptions, model: WordModel, seed: int, dtype: torch.dtype
    ) -> None:
        assert options.token_string is not None
        assert model.text_encoders, "a new word needs the text encoders"
        self._word = options.token_string
        self._family = model.family.name
        self._model = model
        self._tokenizers = list(model.tokenizers)
        self._owners = [_owner_of_table(encoder) for encoder in model.text_encoders]
        self._tables = [_table(owner) for owner in self._owners]
        count = options.num_vectors_per_token
        extended = [with_new_word(one, self._word, count) for one in self._tokenizers]
        notes = known_word_notes(self._tokenizers[0], self._word)
        self.warnings: tuple[Problem, ...] = (*notes, *self._init_word_notes(options))
        start = self._start(options, seed)
        self.rows = nn.ParameterDict(
            {
                key: nn.Parameter(one.to(dtype))
                for key, one in zip(KEYS[self._family], start, strict=True)
            }
        )
        for place, owner in enumerate(self._owners):
            rows = self.rows[KEYS[self._family][place]]
            first_new = len(self._tokenizers[place])
            owner.token_embedding = ExtendedTable(self._tables[place], rows, first_new)
            model.tokenizers[place] = extended[place]

    @classmethod
    def from_file(cls, word: str, path: Path, model: WordModel, option: str) -> NewWord:
        """Let a model read the word of an embedding file, as many vectors as that holds.

        Raises `UserError`, naming `option`, if the file or the word cannot be used.
        """
        try:
            widths = tuple(
                _table(_owner_of_table(one)).embedding_dim for one in model.text_encoders
            )
            count = len(read_embedding(path, model.family.name, widths)[0])
            options = EmbeddingOptions(
                token_string=word, num_vectors_per_token=count, weights=str(path)
            )
            return cls(options, model, 0, torch.float32)
        except UserError as error:
            raise UserError.of(replace(one, option=option) for one in error.problems) from error

    @property
    def num_vectors(self) -> dict[str, int]:
        """Number of vectors by text encoder."""
        return dict(zip(OWNERS, (len(rows) for rows in self.rows.values()), strict=False))

    @property
    def num_parameters(self) -> int:
        """How many numbers learn."""
        return sum(rows.numel() for rows in self.rows.values() if rows.requires_grad)

    def save(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str],
        dtype: torch.dtype | None = None,
    ) -> None:
        """Write the embedding file atomically, in the format of its ending. Raises `OSError`."""
        tensors = {
            key: rows.detach().to("cpu", dtype or rows.dtype, copy=True)
            for key, rows in self.rows.items()
        }
        save_tensors(tensors, path, metadata)

    def detach(self) -> None:
        """Give the model its own tables and tokenizers back."""
        for owner, table in zip(self._owners, self._tables, strict=True):
            owner.token_embedding = table
        self._model.tokenizers[:] = self._tokenizers

    def _start(self, options: EmbeddingOptions, seed: int) -> list[Tensor]:
        """Return the first values [n, D] (float32) in each encoder, where its table lies."""
        count = options.num_vectors_per_token
        if options.weights is not None:
            read = read_embedding(options.weights, self._family, self._widths)
            if len(read[0]) != count:
                raise _other_count(options.weights, len(read[0]), count)
            return [
                one.to(table.weight.device) for one, table in zip(read, self._tables, strict=True)
            ]
        if options.init_word is None:
            return [_random_rows(table.weight, count, seed) for table in self._tables]
        starts = []
        for tokenizer, table in zip(self._tokenizers, self._tables, strict=True):
            parts = word_parts(tokenizer, options.init_word)
            in_turn = torch.tensor([parts[place % len(parts)] for place in range(count)])
            starts.append(table.weight[in_turn.to(table.weight.device)].float())
        return starts

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(table.embedding_dim for table in self._tables)

    def _init_word_notes(self, options: EmbeddingOptions) -> tuple[Problem, ...]:
        """Tell of an init word with another number of tokens; raises `UserError` if it has none."""
        if options.init_word is None or options.weights is not None:
            return ()
        length, count = (
            len(word_parts(self._tokenizers[0], options.init_word)),
            options.num_vectors_per_token,
        )
        if not length:
            raise UserError(
                f"“{options.init_word}” is nothing that the model can read",
                option="init_word",
                hint="Give a word such as cat, or leave it empty.",
            )
        if length in (1, count):
            return ()
        used = (
            f"only its first {count} are used"
            if length > count
            else f"they are taken in turn for the {count} vectors"
        )
        return (
            Problem(
                f"“{options.init_word}” is {length} tokens; {used}",
                "init_word, num_vectors_per_token",
                f"Set num_vectors_per_token to {length} to use each of them once.",
                "warning",
            ),
        )


def _owner_of_table(encoder: nn.Module) -> Any:
    """Return the module that holds an encoder's table of tokens, as `token_embedding`."""
    transformer: Any = encoder.text_model if hasattr(encoder, "text_projection") else encoder
    return transformer.embeddings


def _table(owner: Any) -> Table:
    table = owner.token_embedding
    assert isinstance(table, nn.Embedding | ExtendedTable)
    return table


def _random_rows(table: Tensor, count: int, seed: int) -> Tensor:
    """Draw rows like those of a table [V, D]: normal, with mean and deviation of each column."""
    if table.is_meta:
        return torch.empty(count, table.shape[1], device="meta")
    known = table.float()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, known.shape[1], generator=generator).to(known.device)
    return known.mean(dim=0) + noise * known.std(dim=0)


def _other_count(path: str, found: int, wanted: int) -> UserError:
    return UserError(
        f"{path} holds {found} vectors, and num_vectors_per_token is {wanted}",
        option="weights, num_vectors_per_token",
        hint=f"Set num_vectors_per_token to {found}.",
    )
