"""Two processes train as one with the doubled batch does, and none waits for another in vain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from sd_scripts.options.jobs import TrainDbJob, TrainTextualInversionJob
from sd_scripts.runs.events import EndEvent, SaveEvent, StepEvent, ValidationEvent
from tests.support.jobs import TinyJob, draw_pictures, equal
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.together import Together, near

# Adam divides by the gradient's size, which makes rounding of the smallest ones as large as a step.
PLAIN: dict[str, Any] = {"optimizer_type": "SGDNesterov", "max_grad_norm": 0.0}
WHOLE: dict[str, Any] = {"network_dim": None, "learning_rate": 1e-4, "max_train_epochs": 2}
NEW_WORD = {"token_string": "mycat7", "init_word": "cat", "caption_prefix": "mycat7, ", **PLAIN}
WORD = {**NEW_WORD, "network_dim": None, "cache_latents": None, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    root = tmp_path_factory.mktemp("several")
    model = make_tiny_checkpoint("sd1", root / "tiny.safetensors")
    draw_pictures(root / "pictures" / "1_cat", 3)
    return Together(root, model)


@dataclass
class Outcome:
    """The jobs that two processes did, by name, and the exit codes of both."""

    together: Together
    jobs: dict[str, TinyJob]
    codes: dict[str, tuple[int, int]]
    weights: dict[str, tuple[list[str], list[str]]]

    def end(self, name: str) -> EndEvent:
        """Return how a job ended."""
        return self.jobs[name].end()

    def alone(self, name: str) -> dict[str, Tensor]:
        """Do a job again in one process, with all pictures in one batch; returns its tensors."""
        there = self.jobs[name]
        job = TinyJob(there.place / "alone", there.model, there.options, there.job_type)
        assert job.run(train_batch_size=4) == 0
        self.jobs[f"{name} alone"] = job
        return job.tensors()


@pytest.fixture(scope="module")
def outcome(together: Together) -> Outcome:
    """Do everything in one launch: starting processes takes longer than these jobs."""
    averaged = {**WHOLE, "full_bf16": True, "mixed_precision": "bf16", "use_ema": True}
    jobs = {
        "lora": together.job("lora", learning_rate=0.3, **PLAIN),
        "adam": together.job("adam", save_every_n_steps=2, save_state=True),
        "stopped": together.job("stopped", seed=None),
        "validated": together.job("validated", validation_split=0.34, max_train_epochs=2),
        "whole": together.job("whole", TrainDbJob, **{**WHOLE, **PLAIN, "learning_rate": 0.001}),
        "averaged": together.job("averaged", TrainDbJob, **averaged, save_precision="float"),
        "word": together.job("word", TrainTextualInversionJob, **WORD),
        "pivotal": together.job("pivotal", learning_rate=0.3, **NEW_WORD),
        "mistake": together.job("mistake"),
        "fault": together.job("fault"),
        "unlike": together.job("unlike"),
    }
    events = {name: (name, 1) for name in ("mistake", "fault", "unlike")}
    events["stopped"] = ("stop", 0)
    for name, job in jobs.items():
        together.add(job, *events.get(name, ("", 1)))
    state = jobs["adam"].place / "run" / "state" / "cat-step00000002-state"
    jobs["resumed"] = together.add(together.job("resumed", resume=str(state)))
    jobs["death"] = together.add(together.job("death"), "death")
    leader, follower = together.launch()
    pairs = dict(zip(jobs, zip(leader, follower, strict=False), strict=False))
    assert len(pairs) >= len(jobs) - 1, (together.root / "log.txt").read_text("utf-8", "replace")
    codes = {name: (first[0], second[0]) for name, (first, second) in pairs.items()}
    weights = {name: (first[1], second[1]) for name, (first, second) in pairs.items()}
    return Outcome(together, jobs, codes, weights)


@pytest.mark.parametrize("name", ["lora", "whole", "word", "pivotal"])
def test_two_processes_learn_as_one_with_the_doubled_batch(outcome: Outcome, name: str) -> None:
    """Three pictures: one process has two of them, the other one, and each counts the same."""
    assert outcome.codes[name] == (0, 0)
    alone = outcome.alone(name)
    assert near(outcome.jobs[name].tensors(), alone)
    losses, expected = outcome.jobs[name].losses(), outcome.jobs[f"{name} alone"].losses()
    assert losses.keys() == expected.keys()
    assert [losses[step] for step in losses] == pytest.approx(list(expected.values()), abs=1e-5)


def test_only_the_leader_writes(outcome: Outcome) -> None:
    """One event a step, one file a save; the other process has no run folder."""
    events = outcome.jobs["adam"].events()
    assert [event.step for event in events if isinstance(event, StepEvent)] == [1, 2, 3]
    saved = [Path(event.path).name for event in events if isinstance(event, SaveEvent)]
    assert len(saved) == len(set(saved)) == 4
    assert sorted(path.name for path in outcome.jobs["adam"].place.iterdir()) == ["output", "run"]


@pytest.mark.parametrize("name", ["lora", "adam", "whole", "averaged", "word", "pivotal"])
def test_all_processes_have_the_same_weights_bit_for_bit(outcome: Outcome, name: str) -> None:
    """Also with stochastic rounding, which must draw the same in all ("averaged")."""
    assert outcome.codes[name] == (0, 0)
    leader, follower = outcome.weights[name]
    assert len(leader) == 1
    assert leader == follower


def test_held_out_pictures_are_shared_out(outcome: Outcome) -> None:
    """Two pictures learn, in one batch: the second process only lends a hand that counts zero."""
    assert outcome.codes["validated"] == (0, 0)
    outcome.alone("validated")
    found, expected = (
        [event for event in outcome.jobs[name].events() if isinstance(event, ValidationEvent)]
        for name in ("validated", "validated alone")
    )
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert one.losses == pytest.approx(other.losses, abs=1e-5)


def test_a_stop_is_heeded_by_all_after_the_same_step(outcome: Outcome) -> None:
    assert outcome.codes["stopped"] == (0, 0)
    assert outcome.end("stopped").status == "stopped"
    assert list(outcome.jobs["stopped"].losses()) == [1, 2]
    assert outcome.end("stopped").reason.startswith("Stopped on request after 2 of 3")


def test_resumed_equals_uninterrupted_bit_for_bit(outcome: Outcome) -> None:
    assert outcome.codes["resumed"] == (0, 0)
    assert list(outcome.jobs["resumed"].losses()) == [3]
    assert equal(outcome.jobs["resumed"].tensors(), outcome.jobs["adam"].tensors())


def test_another_number_of_processes_is_refused(outcome: Outcome) -> None:
    job = outcome.jobs["resumed"]
    assert job.run("alone") == 2
    assert "saved by 2 processes" in job.end("alone").reason
    assert "num_processes 2" in (job.end("alone").hint or "")


def test_a_mistake_that_another_process_meets_is_told_in_words(outcome: Outcome) -> None:
    assert outcome.codes["mistake"] == (2, 1)
    end = outcome.end("mistake")
    assert "Process 1" in end.reason
    assert "this picture is broken" in end.reason
    assert (end.problems[0].option, end.hint) == ("train_data_dir", "Look.")


def test_a_fault_in_another_process_is_told_with_its_traceback(outcome: Outcome) -> None:
    assert outcome.codes["fault"] == (1, 1)
    assert "ZeroDivisionError: one by nothing" in outcome.end("fault").reason
    log = (outcome.jobs["fault"].place / "run" / "train.log").read_text(encoding="utf-8")
    assert "in optimize" in log


def test_other_settings_in_another_process_are_told(outcome: Outcome) -> None:
    assert outcome.codes["unlike"] == (2, 1)
    assert "Process 1 was given max_grad_norm = 0.5" in outcome.end("unlike").reason


def test_a_process_that_ends_without_a_word_ends_the_run(outcome: Outcome) -> None:
    assert "ended without a word" in outcome.end("death").reason
