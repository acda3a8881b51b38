"""Every kind of network as a method: learning, resuming, saving, going on; LoRA's arguments."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sd_scripts.errors import UserError
from sd_scripts.methods.blocks import Blocks
from sd_scripts.methods.network import NetworkMethod, norm_facts
from sd_scripts.options.block_weights import SDXL_BLOCKS, parse_course
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.train.state_facts import StateFacts
from sd_scripts.train.states import Resumable, load_state, save_state
from sd_scripts.weights.files import read_metadata
from sd_scripts.weights.lora_slices import slice_lora
from sd_scripts.weights.network_difference import difference
from sd_scripts.weights.network_file import read_network
from sd_scripts.weights.slicing import run_slicing
from tests.methods.fakes import FakeModel, fake_model
from tests.methods.jobs import network_job

LYCORIS = {"network_module": "lycoris.kohya", "network_dim": 2}
KINDS: dict[str, dict[str, object]] = {
    "lora": {"conv_dim": 2, "rank_dropout": 0.2, "module_dropout": 0.2, "network_dropout": 0.1},
    "lora dora": {"conv_dim": 2, "network_args": ["dora_wd=True"]},
    "lora_fa": {"network_module": "networks.lora_fa", "conv_dim": 2},
    "dylora": {"network_module": "networks.dylora", "network_args": ["unit=2"]},
    "oft": {
        "network_module": "networks.oft",
        "network_dim": 2,
        "network_args": ["enable_all_linear=True"],
    },
    **{
        f"lycoris {algo}": {**LYCORIS, "network_args": [f"algo={algo}", "preset=attn-mlp"]}
        for algo in ("locon", "loha", "lokr", "ia3", "glora", "full", "diag-oft")
    },
    "lycoris boft": {
        "network_module": "lycoris.kohya",
        "network_dim": 6,
        "network_args": ["algo=boft", "preset=attn-mlp"],
    },
    "lycoris dylora": {
        **LYCORIS,
        "network_args": ["algo=dylora", "preset=attn-mlp", "block_size=1"],
    },
    "lycoris loha dropped": {
        **LYCORIS,
        "network_args": ["algo=loha", "preset=attn-mlp", "rank_dropout=0.3", "module_dropout=0.2"],
        "network_dropout": 0.2,
    },
    "lycoris lokr scalar": {
        **LYCORIS,
        "network_args": ["algo=lokr", "preset=attn-mlp", "use_scalar=True", "dora_wd=True"],
    },
}  # fmt: skip


def job_of(kind: str, **more: object) -> TrainNetworkJob:
    return network_job(**{"learning_rate": 1e-2, **KINDS[kind], **more})


def train(
    model: FakeModel, method: NetworkMethod, optimizer: torch.optim.Optimizer, steps: int
) -> float:
    method.set_training()
    loss = torch.zeros(())
    for _ in range(steps):
        loss = torch.stack([(output - 1.0).square().mean() for output in model.outputs()]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(1)
    return loss.item()


def evaluated(model: FakeModel, method: NetworkMethod) -> list[Tensor]:
    method.trainable_modules.eval()
    with torch.no_grad():
        return model.outputs()


def resumable(method: NetworkMethod) -> Resumable:
    optimizer = torch.optim.AdamW(method.parameter_groups())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return Resumable(method.trainable_modules, optimizer, schedule)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_resumes_bit_for_bit(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = fake_model()
    before = model.outputs()
    method = NetworkMethod(job_of(kind), model)
    parts = resumable(method)
    first = train(model, method, parts.optimizer, 1)
    train(model, method, parts.optimizer, 4)
    facts = StateFacts(5, 0, 0, 7, "plan", "1")
    save_state(tmp_path / "a-state", parts, facts)
    train(model, method, parts.optimizer, 4)
    expected = {key: value.clone() for key, value in method.trainable_modules.state_dict().items()}

    model_again = fake_model()
    again = NetworkMethod(job_of(kind), model_again)
    parts_again = resumable(again)
    load_state(tmp_path / "a-state", parts_again)
    train(model_again, again, parts_again.optimizer, 4)
    state = again.trainable_modules.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)

    assert train(model, method, parts.optimizer, 20) < first
    with method.multiplied(0.0):
        for ours, base in zip(evaluated(model, method), before, strict=True):
            assert torch.equal(ours, base)
    method.detach()
    assert all(torch.equal(a, b) for a, b in zip(model.outputs(), before, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_file_is_what_was_trained_and_is_gone_on_from(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = fake_model("sdxl")
    method = NetworkMethod(job_of(kind), model)
    train(model, method, torch.optim.AdamW(method.parameter_groups()), 5)
    expected = evaluated(model, method)
    path = tmp_path / "a.safetensors"
    method.save(path, {})
    method.detach()

    plain = fake_model("sdxl")
    modules = {layer.name: layer.module for layer in plain.family.network_layers(plain)}
    for name, parts in read_network(path, "sdxl").modules.items():
        module = modules[name.replace("oft_unet_", "lora_unet_")]
        change = difference(parts, module.weight)  # type: ignore[arg-type]
        assert change is not None
        with torch.no_grad():
            module.weight += change.weight  # type: ignore[operator]
            if change.bias is not None:
                module.bias += change.bias  # type: ignore[operator]
    for ours, merged in zip(expected, plain.outputs(), strict=True):
        torch.testing.assert_close(merged, ours, rtol=1e-4, atol=1e-5)

    next_model = fake_model("sdxl")
    goes_on = NetworkMethod(job_of(kind, network_weights=str(path)), next_model)
    for ours, again in zip(expected, evaluated(next_model, goes_on), strict=True):
        torch.testing.assert_close(again, ours, rtol=1e-5, atol=1e-6)
    is_lycoris = kind.startswith("lycoris")
    metadata = read_metadata(path)
    assert metadata["sshs_model_hash"].startswith("0x") is is_lycoris
    assert ("sshs_legacy_hash" in metadata) is not is_lycoris


@pytest.mark.parametrize("algo", ["locon", "loha", "lokr", "glora", "diag-oft", "full", "ia3"])
def test_ranks_and_algorithms_come_from_a_file(algo: str, tmp_path: Path) -> None:
    options = {"network_module": "lycoris.kohya", "network_alpha": 1.5}
    arguments = [f"algo={algo}", "preset=attn-mlp"]
    model = fake_model()
    method = NetworkMethod(network_job(**options, network_dim=1, network_args=arguments), model)
    path = tmp_path / "a.safetensors"
    method.save(path, {})
    told = {"network_weights": str(path), "dim_from_weights": True}
    fresh = NetworkMethod(
        network_job(**options, **told, network_args=["preset=attn-mlp"]), fake_model()
    )
    ours, theirs = fresh.export_state_dict(), load_file(path)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_file_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    job = network_job(**LYCORIS, network_args=["algo=loha", "preset=attn-mlp"])
    NetworkMethod(job, fake_model()).save(tmp_path / "a.safetensors", {})
    other = network_job(
        **LYCORIS,
        network_args=["algo=lokr", "preset=attn-mlp"],
        network_weights=str(tmp_path / "a.safetensors"),
    )
    with pytest.raises(UserError, match="does not fit"):
        NetworkMethod(other, fake_model())


def test_only_the_upper_factors_learn_with_lora_fa() -> None:
    model = fake_model()
    method = NetworkMethod(job_of("lora_fa"), model)
    start = {k: v.clone() for k, v in method.export_state_dict().items()}
    train(model, method, torch.optim.AdamW(method.parameter_groups()), 3)
    for key, tensor in method.export_state_dict().items():
        assert torch.equal(tensor, start[key]) is ("lora_up" not in key)


def test_upper_factors_learn_faster_with_lora_plus() -> None:
    arguments = ["loraplus_lr_ratio=4", "loraplus_text_encoder_lr_ratio=2"]
    method = NetworkMethod(network_job(network_args=arguments), fake_model())
    groups = method.parameter_groups()
    rates = {group["name"]: group["lr"] for group in groups}
    assert rates == {
        "text_encoder": 1e-4,
        "text_encoder_plus": pytest.approx(2e-4),
        "unet": 1e-4,
        "unet_plus": pytest.approx(4e-4),
    }
    shapes = [p.shape for group in groups if group["name"] == "unet_plus" for p in group["params"]]
    assert all(shape[1] == 4 for shape in shapes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,0.5", (1.0, 0.5, 1.0, 1.0, 1.0)),
        ("linear", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("reverse_linear+.5", (1.5, 1.25, 1.0, 0.75, 0.5)),
        ("zeros+0.1", (0.1,) * 5),
        ("sine", (0.0, 0.3826834, 0.7071068, 0.9238795, 1.0)),
        ("cosine", (1.0, 0.9238795, 0.7071068, 0.3826834, 0.0)),
    ],
)
def test_courses_over_blocks(text: str, expected: tuple[float, ...]) -> None:
    assert parse_course(text, 5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("lora_unet_down_blocks_0_attentions_1_proj_in", 2),
        ("lora_unet_down_blocks_2_downsamplers_0_conv", 9),
        ("lora_unet_mid_block_attentions_0_proj_in", 12),
        ("lora_unet_up_blocks_0_resnets_0_conv1", 13),
        ("lora_unet_up_blocks_2_upsamplers_0_conv", 21),
        ("lora_unet_up_blocks_3_attentions_2_proj_out", 24),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", None),
    ],
)
def test_blocks_of_names(name: str, place: int | None) -> None:
    assert Blocks.of(network_job().network, "sd1").place(name) == place


def test_blocks_of_sdxl_names() -> None:
    blocks = Blocks(SDXL_BLOCKS)
    names = ("input_blocks_4_1_proj_in", "middle_block_1_proj_in", "output_blocks_8_0_emb_layers_1")
    assert [blocks.place(f"lora_unet_{name}") for name in names] == [5, 11, 21]


def test_ranks_alphas_and_rates_by_block() -> None:
    ranks = [4] * 25
    ranks[12] = 6
    arguments = [
        f"block_dims={','.join(map(str, ranks))}",
        f"block_alphas={','.join(['2'] * 25)}",
        f"conv_block_dims={','.join(['3'] * 25)}",
        "mid_lr_weight=0.5",
    ]
    method = NetworkMethod(network_job(network_args=arguments), fake_model())
    ranks_of = {name: layer.rank for name, layer in method.trainable_modules.items()}
    assert ranks_of == {
        "lora_te_text_model_encoder_layers_0_mlp_fc1": 4,
        "lora_unet_mid_block_resnets_0_conv1": 3,
        "lora_unet_mid_block_resnets_0_time_emb_proj": 6,
        "lora_unet_mid_block_attentions_0_proj_in": 6,
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": 6,
    }
    groups = {group["name"]: group["lr"] for group in method.parameter_groups()}
    assert groups == {"text_encoder": 1e-4, "unet_block_12": pytest.approx(5e-5)}
    dropped = ["mid_lr_weight=0.2", "block_lr_zero_threshold=0.2"]
    without = NetworkMethod(network_job(network_args=dropped), fake_model())
    assert without.num_modules == {"te1": 1}
    with pytest.raises(UserError, match="25 numbers, but this model has 23 blocks"):
        NetworkMethod(network_job(network_args=arguments), fake_model("sdxl"))


def test_norms_are_limited_after_each_step() -> None:
    model = fake_model()
    method = NetworkMethod(network_job(scale_weight_norms=0.05, network_dim=2), model)
    for parameter in method.trainable_modules.parameters():
        nn.init.normal_(parameter)
    method.after_step(1)
    for layer in method.trainable_modules.values():
        change = difference(layer.file_tensors(), layer.base.weight)
        assert change is not None
        assert float(change.weight.detach().norm()) == pytest.approx(0.05, rel=1e-4)
    assert method.step_facts == pytest.approx(
        {
            "max_norm/keys_scaled": len(method.trainable_modules),
            "max_norm/average_key_norm": 0.05,
            "max_norm/max_key_norm": 0.05,
        }
    )
    method.after_step(2)
    assert method.step_facts["max_norm/max_key_norm"] == pytest.approx(0.05, rel=1e-4)


def test_norms_that_are_told_are_those_after_limiting() -> None:
    assert norm_facts([1.0, 2.0, 6.0], 3.0) == {
        "max_norm/keys_scaled": 1.0,
        "max_norm/average_key_norm": 2.0,
        "max_norm/max_key_norm": 3.0,
    }


def test_base_weights_are_merged_exactly(tmp_path: Path) -> None:
    model = fake_model()
    one = NetworkMethod(network_job(network_dim=2), model)
    two = NetworkMethod(
        network_job(**LYCORIS, network_args=["algo=full", "preset=attn-mlp"]), fake_model()
    )
    for number, method in enumerate((one, two)):
        torch.manual_seed(number)
        for parameter in method.trainable_modules.parameters():
            nn.init.normal_(parameter, std=0.3)
        method.save(tmp_path / f"{number}.safetensors", {})
    one.detach()
    files = [str(tmp_path / f"{number}.safetensors") for number in (0, 1)]
    merged = fake_model()
    NetworkMethod(network_job(base_weights=files, base_weights_multiplier=[0.5]), merged).detach()
    layers = {layer.name: layer.module for layer in model.family.network_layers(model)}
    for layer in merged.family.network_layers(merged):
        base, changed = layers[layer.name].weight, layer.module.weight
        first, second = (read_network(path, "sd1").modules.get(layer.name) for path in files)
        expected = base
        for parts, strength in ((first, 0.5), (second, 1.0)):
            if parts is not None:
                change = difference(parts, base)  # type: ignore[arg-type]
                assert change is not None
                expected = expected + change.weight * strength  # type: ignore[operator]
        assert torch.equal(changed, expected)  # type: ignore[arg-type]
    partly = NetworkMethod(network_job(base_weights=files[:1]), fake_model("sdxl"))
    assert any("no place for: lora_te_text" in str(note) for note in partly.warnings)
    save_file({"lora_unet_x.alpha": torch.ones(())}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no place for: lora_unet_x"):
        NetworkMethod(network_job(base_weights=[str(tmp_path / "other.safetensors")]), fake_model())


@pytest.mark.parametrize("kind", ["dylora", "lycoris dylora"])
def test_slices_of_a_dylora_are_what_was_trained_at_that_rank(kind: str, tmp_path: Path) -> None:
    job = job_of(kind, network_dim=4, network_alpha=2, network_args=[*KINDS[kind]["network_args"]])  # type: ignore[misc]
    growth = 1.0 if kind.startswith("lycoris") else 0.5
    method = NetworkMethod(job, fake_model())
    for parameter in method.trainable_modules.parameters():
        nn.init.normal_(parameter)
    tensors = method.export_state_dict()
    name = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
    cut = slice_lora(tensors, 2, growth)
    parts = {key.removeprefix(f"{name}."): v for key, v in cut.items() if key.startswith(name)}
    change = difference(parts, torch.zeros(4, 3))
    assert change is not None
    trained = (up[:, :2] @ down[:2]) * (2 / 4) * (4 / 2) ** growth
    torch.testing.assert_close(change.weight, trained)

    save_file(
        tensors, tmp_path / "a.safetensors", {"ss_network_module": job.network.network_module}
    )
    where = [
        "--model",
        str(tmp_path / "a.safetensors"),
        "--save_to",
        str(tmp_path / "b.safetensors"),
    ]
    where += ["--run_dir", str(tmp_path / "run")]
    assert run_slicing([*where, "--unit", "2", "--check_only"]) == 0
    assert not (tmp_path / "b-0002.safetensors").exists()
    assert run_slicing([*where, "--unit", "2"]) == 0
    written = load_file(tmp_path / "b-0002.safetensors")
    assert all(torch.equal(written[key], cut[key]) for key in cut)
    assert read_metadata(tmp_path / "b-0004.safetensors")["ss_network_dim"] == "4"
    where[-1] = str(tmp_path / "again")
    assert run_slicing([*where, "--unit", "3"]) == 2
    # Nothing is overwritten.
    where[-1] = str(tmp_path / "third")
    assert run_slicing([*where, "--unit", "2"]) == 2
