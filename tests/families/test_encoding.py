"""Text states as transformers computes them, from fewer layers; the right ones for each family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sd_scripts.errors import UserError
from sd_scripts.families.base import LoadedModel, LoadOptions, TextConditioning
from tests.families.conftest import Stored

CAPTIONS = ["a photo of a cat", "1girl, " * 60, ""]


def hidden_states(encoder: nn.Module, tokens: Tensor) -> list[Tensor]:
    """transformers' own, every layer of them."""
    return list(encoder(tokens.flatten(0, 1), output_hidden_states=True).hidden_states)


def final_norm(encoder: nn.Module) -> nn.Module:
    return getattr(encoder, "text_model", encoder).final_layer_norm


def by_transformers(
    stored: Stored, model: LoadedModel, tokens: tuple[Tensor, ...], clip_skip: int | None
) -> TextConditioning:
    """Only right for captions of one window."""
    if stored.name != "sdxl":
        (encoder,) = model.text_encoders
        states = hidden_states(encoder, tokens[0])[-(clip_skip or 1)]
        return TextConditioning(final_norm(encoder)(states))
    first, second = model.text_encoders
    output = second(tokens[1].flatten(0, 1), output_hidden_states=True)
    states = (hidden_states(first, tokens[0])[-2], output.hidden_states[-2])
    return TextConditioning(torch.cat(states, dim=-1), output.text_embeds)


@pytest.mark.parametrize("clip_skip", [None, 1, 2, 3])
def test_states_are_those_of_transformers(stored: Stored, clip_skip: int | None) -> None:
    model = stored.model
    tokens = stored.family.tokenize(model, CAPTIONS)
    ours = stored.family.encode_tokens(model, tokens, clip_skip)
    theirs = by_transformers(stored, model, tokens, clip_skip)
    assert torch.equal(ours.hidden, theirs.hidden)
    if stored.name == "sdxl":
        assert ours.pooled is not None
        assert theirs.pooled is not None
        torch.testing.assert_close(ours.pooled, theirs.pooled, atol=1e-6, rtol=1e-5)
    else:
        assert ours.pooled is None


def test_without_clip_skip_it_is_the_encoders_plain_output(sd2: Stored) -> None:
    model = sd2.model
    (tokens,) = sd2.family.tokenize(model, CAPTIONS)
    plain = model.text_encoders[0](tokens.flatten(0, 1)).last_hidden_state
    assert torch.equal(sd2.family.encode_tokens(model, (tokens,)).hidden, plain)


def test_clip_skip_beyond_the_first_layer(sd1: Stored) -> None:
    with pytest.raises(UserError) as caught:
        sd1.family.encode_text(sd1.model, CAPTIONS, clip_skip=4)
    assert caught.value.problems[0].option == "clip_skip"


def test_sdxl_has_no_clip_skip(sdxl: Stored) -> None:
    model = sdxl.model
    plain, skipped = (sdxl.family.encode_text(model, CAPTIONS, clip_skip=n) for n in (None, 2))
    assert torch.equal(plain.hidden, skipped.hidden)


@pytest.mark.parametrize("length", [150, 225])
def test_long_captions(stored: Stored, length: int) -> None:
    """Each window is encoded by itself; SDXL's pooled vector is the first window's."""
    model = stored.model
    tokens = stored.family.tokenize(model, CAPTIONS, length)
    whole = stored.family.encode_tokens(model, tokens)
    chunks = length // 75
    windows = [
        stored.family.encode_tokens(model, [item[:, n : n + 1] for item in tokens])
        for n in range(chunks)
    ]
    expected = torch.cat(
        [
            windows[0].hidden[:, :1],
            *[window.hidden[:, 1:-1] for window in windows],
            windows[-1].hidden[:, -1:],
        ],
        dim=1,
    )
    assert whole.hidden.shape[1] == length + 2
    torch.testing.assert_close(whole.hidden, expected, atol=1e-6, rtol=1e-5)
    if whole.pooled is not None:
        torch.testing.assert_close(whole.pooled, windows[0].pooled, atol=1e-6, rtol=1e-5)


def layers_run(model: LoadedModel, encode: object) -> list[list[int]]:
    """Say which layers of each encoder run, with how many windows at once."""
    seen: list[dict[int, int]] = [{} for _ in model.text_encoders]
    handles = []
    for number, encoder in enumerate(model.text_encoders):
        for place, layer in enumerate(getattr(encoder, "text_model", encoder).encoder.layers):
            handles.append(
                layer.register_forward_hook(
                    lambda _m, inputs, _o, n=number, p=place: seen[n].update({p: len(inputs[0])})
                )
            )
    encode()  # type: ignore[operator]
    for handle in handles:
        handle.remove()
    return [[counts.get(place, 0) for place in range(3)] for counts in seen]


def test_no_layer_runs_in_vain(sd1: Stored, sdxl: Stored) -> None:
    model = sd1.model
    run = layers_run(model, lambda: sd1.family.encode_text(model, ["a"], 150, clip_skip=2))
    assert run == [[2, 2, 0]]
    model = sdxl.model
    run = layers_run(model, lambda: sdxl.family.encode_text(model, ["a", "b"], 150))
    assert run == [[4, 4, 0], [4, 4, 2]]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_encoders(stored: Stored, checkpointing: bool) -> None:
    def gradients(model: LoadedModel) -> list[Tensor]:
        layers = [
            getattr(e, "text_model", e).encoder.layers[0].mlp.fc1 for e in model.text_encoders
        ]
        for layer in layers:
            layer.weight.requires_grad_(True)
        text = stored.family.encode_text(model, CAPTIONS[:1])
        total = text.hidden.square().sum()
        if text.pooled is not None:
            total = total + text.pooled.square().sum()
        total.backward()
        return [layer.weight.grad for layer in layers]

    plain = stored.load(LoadOptions(parts=frozenset(("text_encoders",))))
    expected = gradients(plain)
    assert all(bool(gradient.abs().sum() > 0) for gradient in expected)
    if checkpointing:
        model = stored.load(LoadOptions(parts=frozenset(("text_encoders",))))
        stored.family.enable_gradient_checkpointing(model)
        for encoder in model.text_encoders:
            encoder.train()
        for ours, theirs in zip(gradients(model), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
