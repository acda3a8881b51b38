"""What must agree around a new word that is learned: spelling, size, start, rate, captions."""

from __future__ import annotations

from collections.abc import Iterator

from sd_scripts.errors import Problem
from sd_scripts.options.groups.data import DataOptions
from sd_scripts.options.groups.embedding import EmbeddingOptions, TextualInversionOptions
from sd_scripts.options.groups.model import ModelOptions
from sd_scripts.options.groups.optimizer import NetworkOptimizerOptions, OptimizerOptions
from sd_scripts.options.groups.saving import SavingOptions
from sd_scripts.options.optimizer_table import OPTIMIZERS
from sd_scripts.options.rules.registry import rule

_MARKS = ",()[]{}|:\\"
"""Characters that mean something else in captions and prompts."""


@rule("token_string")
def new_word_is_one_word(embedding: EmbeddingOptions) -> Iterator[Problem]:
    """The word stands in captions, whose tags are split, and in prompts, whose marks are read."""
    word = embedding.token_string
    if word is None:
        return
    if any(letter.isspace() for letter in word):
        yield Problem(
            f"“{word}” is not one word: it has a blank in it",
            "token_string",
            f"write it as one, for example {'-'.join(word.split()) or 'mycat7'}",
        )
    found = [mark for mark in _MARKS if mark in word]
    if found:
        yield Problem(
            f"“{word}” holds {' '.join(found)}, which has a meaning of its own in captions and "
            "prompts",
            "token_string",
            "use letters, digits and hyphens, for example mycat7",
        )


@rule(
    "token_string",
    "weights",
    "init_word",
    "num_vectors_per_token",
    "use_object_template",
    "use_style_template",
    "embedding_lr",
)
def new_word_is_named(
    embedding: EmbeddingOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """Without a word, nothing that is said about it can be done."""
    if embedding.token_string is not None:
        return
    given = [
        name
        for name, is_given in (
            ("weights", embedding.weights is not None),
            ("init_word", embedding.init_word is not None),
            ("num_vectors_per_token", embedding.num_vectors_per_token != 1),
            ("use_object_template", embedding.use_object_template),
            ("use_style_template", embedding.use_style_template),
            ("embedding_lr", optimizer.embedding_lr is not None),
        )
        if is_given
    ]
    if given:
        yield Problem(
            "no new word is named, so nothing can be learned about it",
            ", ".join(["token_string", *given]),
            f"name the word in token_string, or empty {' and '.join(given)}",
        )


@rule("use_object_template", "use_style_template")
def one_template(embedding: EmbeddingOptions) -> Iterator[Problem]:
    """Sentences are either about a thing or about a style."""
    if embedding.use_object_template and embedding.use_style_template:
        yield Problem(
            "sentences for a thing and for a style exclude each other",
            "use_object_template, use_style_template",
            "switch one of the two off",
        )


@rule("num_vectors_per_token", "max_token_length")
def vectors_fit_in_a_caption(embedding: EmbeddingOptions, model: ModelOptions) -> Iterator[Problem]:
    """The whole word has to fit where a caption is cut off."""
    places = model.max_token_length or 75
    if embedding.num_vectors_per_token > places:
        yield Problem(
            f"{embedding.num_vectors_per_token} vectors do not fit into the {places} places of a "
            "caption",
            "num_vectors_per_token, max_token_length",
            "use fewer; more than 16 are seldom of use",
        )


@rule("weights", "init_word")
def one_start_of_the_word(embedding: EmbeddingOptions) -> Iterator[Problem]:
    """Vectors start from a file or from a word."""
    if embedding.weights is not None and embedding.init_word is not None:
        yield Problem(
            "the vectors start as the file in weights has them; init_word is not used",
            "weights, init_word",
            "empty one of the two",
            severity="warning",
        )


@rule("resume", "weights")
def state_holds_the_word(saving: SavingOptions, embedding: EmbeddingOptions) -> Iterator[Problem]:
    """A state holds the vectors already."""
    if saving.resume is not None and embedding.weights is not None:
        yield Problem(
            "the state to resume holds the vectors; the file in weights is not used",
            "resume, weights",
            "empty one of the two",
            severity="warning",
        )


@rule("cache_text_encoder_outputs", "token_string")
def cached_captions_cannot_learn_words(
    data: DataOptions, embedding: EmbeddingOptions
) -> Iterator[Problem]:
    """What a new word means changes with each step."""
    if data.cache_text_encoder_outputs and embedding.token_string is not None:
        yield Problem(
            "captions can't be cached while a word in them is learned",
            "cache_text_encoder_outputs, token_string",
            "switch cache_text_encoder_outputs off",
        )


@rule("learning_rate", "optimizer_type", "optimizer_args")
def word_learns(word: TextualInversionOptions, optimizer: OptimizerOptions) -> Iterator[Problem]:
    """A new word wants rates a hundred times those of a whole model."""
    if optimizer.adafactor_sets_rate:
        return
    if optimizer.learning_rate == 0:
        yield Problem(
            "the word would not learn: its learning rate is 0",
            "learning_rate",
            "give a rate above 0, for example 1e-3",
        )
        return
    yield from _low_rate("learning_rate", optimizer.learning_rate, optimizer)


@rule(
    "embedding_lr", "learning_rate", "optimizer_type", "optimizer_args", "token_string", "weights"
)
def word_beside_a_network_learns(
    embedding: EmbeddingOptions, optimizer: NetworkOptimizerOptions
) -> Iterator[Problem]:
    """The same for a word beside a network; rate 0 keeps it as it is."""
    if embedding.token_string is None or optimizer.adafactor_sets_rate:
        return
    rate = optimizer.effective_embedding_lr
    name = "learning_rate" if optimizer.embedding_lr is None else "embedding_lr"
    if rate:
        yield from _low_rate(name, rate, optimizer)
    elif embedding.weights is None:
        yield Problem(
            "the new word would not learn: its learning rate is 0",
            f"{name}, token_string",
            "give it a rate above 0, for example 1e-3, or a finished embedding in weights",
        )


def _low_rate(name: str, rate: float, optimizer: OptimizerOptions) -> Iterator[Problem]:
    entry = OPTIMIZERS[optimizer.optimizer_type]
    low, high = entry.usual_rates
    if rate < low:
        usual = "1" if entry.sets_own_rate else f"{high / 20} to {high / 2}"
        yield Problem(
            f"{rate} is so low that a word hardly learns anything",
            name,
            f"usual for a new word with {entry.name}: {usual}",
            severity="warning",
        )


@rule("embedding_lr", "unet_lr", "learning_rate", "optimizer_type", "optimizer_args")
def word_has_the_rate_of_all(optimizer: NetworkOptimizerOptions) -> Iterator[Problem]:
    """Optimizers that find the rate themselves find one for everything."""
    if optimizer.embedding_lr is None:
        return
    if optimizer.adafactor_sets_rate:
        yield Problem(
            "Adafactor chooses the learning rate itself; yours for the new word is not used",
            "optimizer_type, embedding_lr",
            "empty it, or add relative_step=False to optimizer_args",
            severity="warning",
        )
        return
    different = optimizer.embedding_lr not in (0, optimizer.effective_unet_lr)
    if OPTIMIZERS[optimizer.optimizer_type].sets_own_rate and different:
        yield Problem(
            f"{optimizer.optimizer_type} finds one learning rate for everything, so the new word "
            "cannot have another",
            "optimizer_type, embedding_lr",
            "empty embedding_lr, or set it to 0 to keep the word as it is",
        )
