"""Training states: bit-exact, atomic, and honest about what does not fit."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sd_scripts.errors import UserError
from sd_scripts.train import states
from sd_scripts.train.state_facts import StateFacts, find_state, read_facts
from sd_scripts.train.states import Resumable

FACTS = StateFacts(3, 1, 2, seed=7, plan="abc", session="1", rates=(0.1,), packing=("a",))


def parts(seed: int = 0) -> tuple[nn.Linear, Resumable]:
    torch.manual_seed(seed)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW([{"params": list(model.parameters()), "lr": 0.1, "name": "unet"}])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    return model, Resumable(model, optimizer, scheduler, scaler)


def learn(model: nn.Linear, resumable: Resumable, steps: int) -> None:
    assert resumable.scaler is not None
    for _ in range(steps):
        loss = model(torch.randn(2, 4) * random.random() + np.random.random()).square().mean()
        resumable.scaler.scale(loss).backward()
        resumable.scaler.step(resumable.optimizer)
        resumable.scaler.update()
        resumable.scheduler.step()
        resumable.optimizer.zero_grad()


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    model, resumable = parts()
    learn(model, resumable, 3)
    states.save_state(tmp_path / "a-state", resumable, FACTS)
    learn(model, resumable, 4)
    again, resumed = parts(seed=5)
    random.seed(1), np.random.seed(1)
    states.load_state(tmp_path / "a-state", resumed)
    learn(again, resumed, 4)
    assert torch.equal(model.weight, again.weight)
    assert resumable.optimizer.param_groups[0]["lr"] == resumed.optimizer.param_groups[0]["lr"]
    assert resumable.scaler.state_dict() == resumed.scaler.state_dict()
    assert resumed.scaler.get_scale() == 8.0 * 2**3  # it grew after steps 2, 4 and 6 of 7
    assert read_facts(tmp_path / "a-state") == FACTS


def test_a_failed_write_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, resumable = parts()
    folder = tmp_path / "a-state"
    states.save_state(folder, resumable, FACTS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    learn(model, resumable, 1)
    monkeypatch.setattr(states.torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        states.save_state(folder, resumable, FACTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a-state"]


def test_find_state_takes_the_newest_of_a_run(tmp_path: Path) -> None:
    _, resumable = parts()
    for step in (5, 20, 10):
        facts = StateFacts(step, 0, 0, seed=1, plan="", session="")
        states.save_state(tmp_path / "state" / f"x-{step}-state", resumable, facts)
    assert find_state(tmp_path).name == "x-20-state"
    assert find_state(tmp_path / "state").name == "x-20-state"
    assert find_state(tmp_path / "state" / "x-5-state").name == "x-5-state"


def test_what_is_no_state_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training state") as error:
        find_state(tmp_path)
    assert error.value.problems[0].option == "resume"
    (tmp_path / "random_states_0.pkl").touch()
    with pytest.raises(UserError, match="sd-scripts"):
        find_state(tmp_path)


def test_other_shapes_do_not_fit(tmp_path: Path) -> None:
    _, resumable = parts()
    states.save_state(tmp_path / "s", resumable, FACTS)
    other = nn.Linear(5, 5)
    optimizer = torch.optim.AdamW(other.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    with pytest.raises(UserError, match="does not fit"):
        states.load_state(tmp_path / "s", Resumable(other, optimizer, scheduler))


def test_changed_rates_win_and_are_told(tmp_path: Path) -> None:
    model, resumable = parts()
    learn(model, resumable, 2)
    assert states.apply_changed_rates(resumable, (0.1,), (0.1,)) == []
    told = states.apply_changed_rates(resumable, (0.1,), (0.3,))
    assert told[0].severity == "warning"
    assert resumable.optimizer.param_groups[0]["lr"] == pytest.approx(0.3 / 3)
    resumable.optimizer.step()
    resumable.scheduler.step()
    assert resumable.optimizer.param_groups[0]["lr"] == pytest.approx(0.3 / 4)


@pytest.mark.parametrize("keep", [0, 1 / 2])
@pytest.mark.parametrize(
    "name", ["trained.safetensors", "optimizer.pt", "scheduler.pt", "random.pt"]
)
def test_a_damaged_state_is_told_and_changes_nothing(
    tmp_path: Path, name: str, keep: float
) -> None:
    model, resumable = parts()
    states.save_state(tmp_path / "s", resumable, FACTS)
    damaged = tmp_path / "s" / name
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: int(len(whole) * keep)])
    learn(model, resumable, 1)
    before = model.weight.clone()
    with pytest.raises(UserError, match="damaged"):
        states.load_state(tmp_path / "s", resumable)
    assert torch.equal(model.weight, before)


def test_weights_that_cannot_be_written_are_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Savers tell these as warnings and go on; anything else would end the run."""
    _, resumable = parts()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="no space"):
        states.save_state(tmp_path / "s", resumable, FACTS)
    assert not list(tmp_path.iterdir())


def test_a_changed_schedule_counts_from_the_first_step_on() -> None:
    model, resumable = parts()
    learn(model, resumable, 2)
    scheduler: Any = resumable.scheduler
    scheduler.lr_lambdas = [lambda step: 1.0]
    assert states.apply_changed_rates(resumable, (0.1,), (0.1,)) == []
    assert resumable.optimizer.param_groups[0]["lr"] == 0.1


def test_changed_optimizer_arguments_win_and_are_told(tmp_path: Path) -> None:
    _, saved = parts()
    states.save_state(tmp_path / "s", saved, FACTS)
    _, resumed = parts()
    group = resumed.optimizer.param_groups[0]
    group["weight_decay"] = 0.5
    fresh = states.settings_of(resumed.optimizer)
    states.load_state(tmp_path / "s", resumed)
    assert not states.apply_changed_arguments(resumed.optimizer, fresh, ["eps=1"], ["eps=1"])
    told = states.apply_changed_arguments(resumed.optimizer, fresh, [], ["weight_decay=0.5"])
    assert told[0].option == "optimizer_args"
    assert resumed.optimizer.param_groups[0]["weight_decay"] == 0.5


def test_a_state_whose_process_was_killed_between_two_names_is_found(tmp_path: Path) -> None:
    _, resumable = parts()
    folder = tmp_path / "state" / "x-state"
    states.save_state(folder, resumable, FACTS)
    hidden = folder.with_name(".x-state.0123456789ab.new")
    folder.rename(hidden)
    folder.with_name(".x-state.0123456789ab.old").mkdir()
    assert find_state(folder) == hidden
    assert find_state(tmp_path) == hidden
    assert read_facts(find_state(folder)) == FACTS
    states.load_state(find_state(folder), resumable)
