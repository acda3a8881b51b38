"""The judge: what is saved sees the same, and its answers are made of its words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sd_scripts.errors import UserError
from tests.starter.support import TINY_WIDTHS, drawn
from tools.starter.judge import Batch, joined, judge_labels, judge_loss, make_judge
from tools.starter.judge_model import WEIGHTS_FILE, Judge, Labels
from tools.starter.scenes import COLOURS, DEMO_SUBJECTS, SUBJECTS

LABELS = Labels(("apple", "robot"), ("red", "blue", "green"), ("small", "large"))


def tiny_judge() -> Judge:
    """Return an untrained judge with some experience in its batch norms."""
    torch.manual_seed(3)
    judge = Judge(LABELS, TINY_WIDTHS)
    judge.network.train()
    judge.network(torch.randn(4, 3, 128, 128))
    return judge


def test_what_is_loaded_sees_what_was_saved(tmp_path: Path) -> None:
    """fp16 weights change the shares by little, and the answers not at all."""
    judge = tiny_judge()
    judge.save(tmp_path)
    loaded = Judge.load(tmp_path)
    pictures = drawn("red", "navy", "olive")
    before, after = judge.see(pictures), loaded.see(pictures)
    assert loaded.labels == LABELS
    for one, other in zip(before, after, strict=True):
        assert (one.subject, one.colour, one.size) == (other.subject, other.colour, other.size)
        assert one.subject_share == pytest.approx(other.subject_share, abs=2e-3)
    assert judge.network.training, "seeing leaves the mode as it was"


def test_a_file_of_the_starters_judge_is_small(tmp_path: Path) -> None:
    """It ships: at most 0.6 MB."""
    make_judge().save(tmp_path)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size <= 600_000


def test_the_order_and_number_of_pictures_does_not_matter() -> None:
    """One picture alone gets the verdict it gets among others; any size and mode will do."""
    judge = tiny_judge()
    pictures = [*drawn("red", "navy"), *drawn("green", side=256), drawn("red")[0].convert("RGBA")]
    together = judge.see(pictures)
    for picture, verdict in zip(pictures, together, strict=True):
        (alone,) = judge.see([picture])
        assert alone.subject == verdict.subject
        assert alone.subject_share == pytest.approx(verdict.subject_share, abs=1e-5)
    assert together[0] == together[3]
    assert judge.see([]) == []


def test_the_last_subject_is_none() -> None:
    """What is none of the subjects has no word."""
    judge = tiny_judge()
    with torch.no_grad():
        judge.network.subject.bias.copy_(torch.tensor([0.0, 0.0, 50.0]))
        judge.network.colour.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
        judge.network.size.bias.copy_(torch.tensor([0.0, 50.0]))
    (verdict,) = judge.see(drawn("red"))
    assert (verdict.subject, verdict.colour, verdict.size) == (None, "blue", "large")
    assert verdict.subject_share == pytest.approx(1.0)


def test_a_missing_judge_is_told(tmp_path: Path) -> None:
    """With the files that are looked for."""
    with pytest.raises(UserError, match="no judge") as caught:
        Judge.load(tmp_path)
    assert "model.safetensors" in str(caught.value.problems[0])


def test_a_judge_of_other_words_is_damaged(tmp_path: Path) -> None:
    """Weights and words must belong together."""
    tiny_judge().save(tmp_path)
    wider = Judge(Labels((*LABELS.subjects, "cat"), LABELS.colours, LABELS.sizes), TINY_WIDTHS)
    wider.save(tmp_path / "wider")
    (tmp_path / "wider" / WEIGHTS_FILE).replace(tmp_path / WEIGHTS_FILE)
    with pytest.raises(UserError, match="do not belong together"):
        Judge.load(tmp_path)


def test_the_starters_judge_knows_every_word() -> None:
    """All subjects, the demo's too."""
    labels = judge_labels()
    assert set(labels.subjects) == {subject.word for subject in (*SUBJECTS, *DEMO_SUBJECTS)}
    assert labels.colours == tuple(COLOURS)


def test_an_unknown_size_costs_nothing() -> None:
    """Of a shuffled subject the size does not count; of others it does, in shares."""
    logits = (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([[9.0, -9.0], [0.0, 0.0]]))
    zeros = torch.zeros(2, dtype=torch.int64)
    batch = Batch(torch.zeros(2, 3, 1, 1), zeros, zeros, torch.tensor([1.0, 0.5]), torch.ones(2))
    wrong = judge_loss(logits, batch)
    batch.sized = torch.tensor([0.0, 1.0])
    unknown = judge_loss(logits, batch)
    assert wrong - unknown == pytest.approx(0.5 * 18 / 2, rel=1e-4)
    assert joined(batch, batch, torch.tensor([1])).sized.tolist() == [0.0, 1.0, 1.0]
