"""The LoRA method: parts, rates and groups, saving and loading, going on from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sd_scripts.errors import UserError
from sd_scripts.methods.network import NetworkMethod
from sd_scripts.weights.files import read_metadata
from tests.methods.fakes import FakeModel, fake_model
from tests.methods.jobs import network_job


def learnt(model: FakeModel, **options: object) -> NetworkMethod:
    """A method with random factors."""
    method = NetworkMethod(network_job(**options), model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in method.trainable_modules.parameters():
            nn.init.normal_(parameter)
    return method


def rates(method: NetworkMethod) -> list[tuple[str, float]]:
    return [(group["name"], group["lr"]) for group in method.parameter_groups()]


def messages(error: pytest.ExceptionInfo[UserError]) -> str:
    return "\n".join(str(problem) for problem in error.value.problems)


def test_options_decide_ranks_and_alphas() -> None:
    model = fake_model()
    job = network_job(network_dim=3, network_alpha=1.5, conv_dim=2, conv_alpha=0.5)
    layers = NetworkMethod(job, model).trainable_modules
    shapes = {name: (layer.shape.rank, layer.shape.alpha) for name, layer in layers.items()}
    assert shapes == {
        "lora_te_text_model_encoder_layers_0_mlp_fc1": (3, 1.5),
        "lora_unet_mid_block_resnets_0_conv1": (2, 0.5),
        "lora_unet_mid_block_resnets_0_time_emb_proj": (3, 1.5),
        "lora_unet_mid_block_attentions_0_proj_in": (3, 1.5),
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": (3, 1.5),
    }


def test_defaults_are_rank_4_alpha_1_and_no_convolutions() -> None:
    method = NetworkMethod(network_job(), fake_model())
    assert method.rank_and_alpha == ("4", "1.0")
    assert method.num_modules == {"te1": 1, "unet": 2}
    conv = NetworkMethod(network_job(conv_dim=2), fake_model())
    assert conv.trainable_modules["lora_unet_mid_block_resnets_0_conv1"].shape.alpha == 1.0


def test_alpha_zero_means_the_rank() -> None:
    job = network_job(network_dim=6, network_alpha=0, conv_dim=3, conv_alpha=0)
    layers = NetworkMethod(job, fake_model()).trainable_modules.values()
    assert all(layer.scale == 1.0 for layer in layers)


def test_base_is_frozen_and_only_factors_learn() -> None:
    model = fake_model()
    for part in (model.unet, *model.text_encoders):
        part.requires_grad_(True)
    method = NetworkMethod(network_job(conv_dim=2), model)
    sum(output.sum() for output in model.outputs()).backward()  # type: ignore[union-attr]
    for part in (model.unet, *model.text_encoders):
        assert all(p.grad is None and not p.requires_grad for p in part.parameters())
    assert all(layer.lora_up.weight.grad is not None for layer in method.trainable_modules.values())
    learning = sum(p.numel() for p in method.trainable_modules.parameters())
    assert method.num_parameters == learning


def test_one_side_only() -> None:
    unet = NetworkMethod(network_job(network_train_unet_only=True), fake_model())
    assert unet.num_modules == {"unet": 2}
    assert not unet.trains_text_encoder
    text = NetworkMethod(network_job(network_train_text_encoder_only=True), fake_model())
    assert text.num_modules == {"te1": 1}
    assert next(iter(text.export_state_dict())).startswith("lora_te_")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [("text_encoder", 1e-4), ("unet", 1e-4)]),
        ({"unet_lr": 1e-3}, [("text_encoder", 1e-4), ("unet", 1e-3)]),
        ({"text_encoder_lr": [5e-5]}, [("text_encoder", 5e-5), ("unet", 1e-4)]),
        ({"text_encoder_lr": [0]}, [("unet", 1e-4)]),
        ({"unet_lr": 0}, [("text_encoder", 1e-4)]),
        ({"network_train_unet_only": True}, [("unet", 1e-4)]),
    ],
)
def test_rates_of_one_text_encoder(
    options: dict[str, object], expected: list[tuple[str, float]]
) -> None:
    assert rates(NetworkMethod(network_job(**options), fake_model())) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([5e-5], [("text_encoder", 5e-5)]),
        ([5e-5, 5e-5], [("text_encoder", 5e-5)]),
        ([5e-5, 1e-5], [("text_encoder_1", 5e-5), ("text_encoder_2", 1e-5)]),
        ([0, 1e-5], [("text_encoder_2", 1e-5)]),
        ([5e-5, 0], [("text_encoder_1", 5e-5)]),
        ([0], []),
    ],
)
def test_rates_of_two_text_encoders(told: list[float], expected: list[tuple[str, float]]) -> None:
    method = NetworkMethod(network_job(text_encoder_lr=told), fake_model("sdxl"))
    assert rates(method) == [*expected, ("unet", 1e-4)]
    grouped = [p for group in method.parameter_groups() for p in group["params"]]
    learning = [p for p in method.trainable_modules.parameters() if p.requires_grad]
    assert {id(p) for p in grouped} == {id(p) for p in learning}
    assert len(grouped) == len(learning)


def test_part_with_rate_zero_is_frozen_but_saved() -> None:
    method = NetworkMethod(network_job(text_encoder_lr=[0]), fake_model())
    assert not method.trains_text_encoder
    assert "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha" in method.export_state_dict()


def test_nothing_to_train_is_an_error_of_the_user() -> None:
    job = network_job(network_train_unet_only=True)
    optimizer = job.optimizer.model_copy(update={"unet_lr": 0.0})
    with pytest.raises(UserError, match="Nothing would be trained"):
        NetworkMethod(job.model_copy(update={"optimizer": optimizer}), fake_model())


def test_multiplied_by_zero_and_detached_the_model_is_its_base() -> None:
    model = fake_model()
    before = model.outputs()
    method = learnt(model, conv_dim=2)
    with_lora = model.outputs()
    assert not torch.allclose(with_lora[0], before[0])
    with method.multiplied(0.0):
        for ours, base in zip(model.outputs(), before, strict=True):
            assert torch.equal(ours, base)
    assert torch.equal(model.outputs()[0], with_lora[0])
    method.detach()
    for ours, base in zip(model.outputs(), before, strict=True):
        assert torch.equal(ours, base)


def test_training_mode_switches_dropout() -> None:
    model = fake_model()
    method = learnt(model, network_dropout=0.5)
    method.set_training()
    assert not torch.equal(model.outputs()[0], model.outputs()[0])
    method.trainable_modules.eval()
    assert torch.equal(model.outputs()[0], model.outputs()[0])


def test_file_has_module_order_and_types(tmp_path: Path) -> None:
    method = learnt(fake_model(), conv_dim=2)
    state = method.export_state_dict()
    modules = list(dict.fromkeys(key.partition(".")[0] for key in state))
    assert list(state) == [
        f"{module}.{part}"
        for module in modules
        for part in ("alpha", "lora_down.weight", "lora_up.weight")
    ]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    half = method.export_state_dict(torch.float16)
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}
    method.save(tmp_path / "a.safetensors", {"ss_note": "x"}, torch.float16)
    stored = load_file(tmp_path / "a.safetensors")
    assert stored.keys() == state.keys()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    metadata = read_metadata(tmp_path / "a.safetensors")
    assert metadata["ss_note"] == "x"
    assert len(metadata["sshs_model_hash"]) == 64
    assert len(metadata["sshs_legacy_hash"]) == 8


@pytest.mark.parametrize("suffix", ["ckpt", "pt"])
def test_pickle_formats_are_plain_tensors(suffix: str, tmp_path: Path) -> None:
    method = learnt(fake_model())
    path = tmp_path / f"a.{suffix}"
    method.save(path, {"ss_note": "x"})
    stored = torch.load(path, weights_only=True)
    state = method.export_state_dict()
    assert list(stored) == list(state)
    assert all(torch.equal(stored[key], state[key]) for key in state)


def test_full_half_precision_casts_factors_not_alphas() -> None:
    job = network_job(full_bf16=True, mixed_precision="bf16")
    layer = next(iter(NetworkMethod(job, fake_model()).trainable_modules.values()))
    assert layer.lora_down.weight.dtype == layer.lora_up.weight.dtype == torch.bfloat16
    assert layer.alpha.dtype == torch.float32


def test_saved_file_loads_back(tmp_path: Path) -> None:
    method = learnt(fake_model(), conv_dim=2)
    method.save(tmp_path / "a.safetensors", {})
    other = NetworkMethod(network_job(conv_dim=2), fake_model())
    other.load(tmp_path / "a.safetensors")
    for key, tensor in method.export_state_dict().items():
        assert torch.equal(other.export_state_dict()[key], tensor)


def test_file_of_another_network_is_refused_on_load(tmp_path: Path) -> None:
    learnt(fake_model()).save(tmp_path / "a.safetensors", {})
    with pytest.raises(UserError, match="another network"):
        NetworkMethod(network_job(conv_dim=2), fake_model()).load(tmp_path / "a.safetensors")


def test_seed_decides_the_start() -> None:
    def start(seed: int) -> torch.Tensor:
        method = NetworkMethod(network_job(seed=seed), fake_model())
        return method.export_state_dict()[
            "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"
        ]

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def continued(path: Path, model: FakeModel | None = None, **options: object) -> NetworkMethod:
    return NetworkMethod(network_job(network_weights=str(path), **options), model or fake_model())


def test_going_on_from_a_file_starts_at_its_weights(tmp_path: Path) -> None:
    model = fake_model()
    first = learnt(model, network_dim=3, network_alpha=2)
    expected = model.outputs()
    first.save(tmp_path / "a.safetensors", {})
    again = fake_model()
    method = continued(tmp_path / "a.safetensors", again, network_dim=3, network_alpha=2)
    assert method.warnings == ()
    for ours, theirs in zip(again.outputs(), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_alpha_of_the_file_is_kept_and_told(tmp_path: Path) -> None:
    model = fake_model()
    first = learnt(model, network_dim=3, network_alpha=2)
    expected = model.outputs()
    first.save(tmp_path / "a.safetensors", {})
    again = fake_model()
    method = continued(tmp_path / "a.safetensors", again, network_dim=3, network_alpha=1)
    assert "keep the alpha" in str(method.warnings[0])
    assert "network_alpha" in str(method.warnings[0].option)
    torch.testing.assert_close(again.outputs()[0], expected[0])


def test_missing_alpha_is_the_rank(tmp_path: Path) -> None:
    state = learnt(fake_model(), network_dim=3).export_state_dict()
    without = {key: tensor for key, tensor in state.items() if not key.endswith(".alpha")}
    save_file(without, tmp_path / "a.safetensors")
    method = continued(tmp_path / "a.safetensors", dim_from_weights=True)
    assert method.rank_and_alpha == ("3", "3.0")


def test_dim_from_weights_takes_modules_ranks_and_alphas(tmp_path: Path) -> None:
    learnt(fake_model(), network_dim=3, network_alpha=2, conv_dim=2).save(
        tmp_path / "a.safetensors", {}
    )
    state = load_file(tmp_path / "a.safetensors")
    for key in list(state):
        if "time_emb_proj" in key:
            del state[key]
    save_file(state, tmp_path / "b.safetensors")
    method = continued(tmp_path / "b.safetensors", dim_from_weights=True)
    layers = method.trainable_modules
    assert "lora_unet_mid_block_resnets_0_time_emb_proj" not in layers
    conv = layers["lora_unet_mid_block_resnets_0_conv1"].shape
    assert (conv.rank, conv.alpha) == (2, 1.0)
    assert method.rank_and_alpha == ("3", "2.0")


def test_other_rank_names_file_and_option(tmp_path: Path) -> None:
    learnt(fake_model(), network_dim=3).save(tmp_path / "a.safetensors", {})
    with pytest.raises(UserError) as error:
        continued(tmp_path / "a.safetensors", network_dim=8)
    assert "has 3, the options say 8" in messages(error)
    assert "dim_from_weights" in messages(error)


def test_file_with_convolutions_needs_conv_dim(tmp_path: Path) -> None:
    learnt(fake_model(), conv_dim=2).save(tmp_path / "a.safetensors", {})
    with pytest.raises(UserError) as error:
        continued(tmp_path / "a.safetensors")
    assert "conv_dim" in messages(error)


def test_file_of_another_model_is_refused_with_everything_wrong(tmp_path: Path) -> None:
    state = learnt(fake_model(), network_dim=4).export_state_dict()
    name = "lora_unet_mid_block_attentions_0_proj_in"
    state[f"{name}.lora_down.weight"] = torch.zeros(4, 9, 1, 1)
    state["lora_unet_down_blocks_9_to_q.lora_down.weight"] = torch.zeros(4, 3)
    state["lora_unet_down_blocks_9_to_q.lora_up.weight"] = torch.zeros(3, 4)
    state["lora_unet_mid_block_x.lora_mid.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(UserError) as error:
        continued(tmp_path / "a.safetensors")
    assert f"the sizes of {name} differ" in messages(error)
    assert "lora_unet_down_blocks_9_to_q, lora_unet_mid_block_x.lora_mid.weight" in messages(error)


def test_side_that_is_off_is_left_out_with_a_warning(tmp_path: Path) -> None:
    learnt(fake_model()).save(tmp_path / "a.safetensors", {})
    method = continued(tmp_path / "a.safetensors", network_train_unet_only=True)
    assert "left out by network_train_unet_only" in str(method.warnings[0])
    assert method.num_modules == {"unet": 2}


def test_side_missing_in_the_file_starts_fresh_with_a_warning(tmp_path: Path) -> None:
    learnt(fake_model(), network_train_unet_only=True).save(tmp_path / "a.safetensors", {})
    method = continued(tmp_path / "a.safetensors")
    assert "1 modules are not in the LoRA file" in str(method.warnings[0])
    state = method.export_state_dict()
    assert not state["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"].any()
    assert state["lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"].any()


def test_file_with_nothing_of_this_job_is_refused(tmp_path: Path) -> None:
    learnt(fake_model(), network_train_unet_only=True).save(tmp_path / "a.safetensors", {})
    with pytest.raises(UserError, match="Nothing in the LoRA file"):
        continued(tmp_path / "a.safetensors", network_train_text_encoder_only=True)


def test_flat_factors_of_a_1x1_convolution_are_taken(tmp_path: Path) -> None:
    """SD 2.x and SDXL projections are met as Linear and as 1x1 convolution."""
    model = fake_model()
    method = learnt(model)
    expected = model.outputs()[0]
    state = method.export_state_dict()
    name = "lora_unet_mid_block_attentions_0_proj_in"
    for part in ("lora_down", "lora_up"):
        state[f"{name}.{part}.weight"] = state[f"{name}.{part}.weight"].flatten(1)
    other = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    for part in ("lora_down", "lora_up"):
        state[f"{other}.{part}.weight"] = state[f"{other}.{part}.weight"][..., None, None]
    save_file(state, tmp_path / "a.safetensors")
    again = fake_model()
    continued(tmp_path / "a.safetensors", again)
    torch.testing.assert_close(again.outputs()[0], expected)
