"""What a model will see is what its batches hold: pixels, captions, cut-off tokens."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from sd_scripts.data.assemble import Assembler
from sd_scripts.data.pixels import cutout, load_batch
from sd_scripts.data.schedule import Sharing, shares_of_epoch
from sd_scripts.data.seen import main, seen_samples, shaded, view_of
from sd_scripts.dataset.tokens import count_tokens
from sd_scripts.options.jobs import TrainNetworkJob
from sd_scripts.options.values import Reading

LONG = ", ".join(f"word{number}" for number in range(40))


def values(tmp_path: Path, **more: object) -> dict[str, object]:
    folder = tmp_path / "pictures" / "2_cat"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        pixels = np.zeros((80, 64 + 32 * number, 3), np.uint8)
        pixels[:, :40] = (255, 40 * number, 0)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        caption = LONG if number == 0 else "a, b, c, d, e"
        (folder / f"{number}.txt").write_text(caption)
    return {
        "train_data_dir": str(folder.parent),
        "caption_extension": ".txt",
        "resolution": "64",
        "enable_bucket": True,
        "min_bucket_reso": 64,
        "max_bucket_reso": 128,
        "flip_aug": True,
        "random_crop": True,
        "shuffle_caption": True,
        "caption_tag_dropout_rate": 0.3,
        "seed": 5,
        "max_train_epochs": 2,
        **more,
    }


def test_showings_are_those_of_the_batches(tmp_path: Path) -> None:
    view = view_of(Reading(TrainNetworkJob, values(tmp_path)), epoch=2, family=None)
    seen = list(seen_samples(view))
    assert len(seen) == 6
    assembler = Assembler(view.plan.samples, 5, view.total_steps)
    shares = shares_of_epoch(view.plan, seed=5, epoch=2, accumulation=1, sharing=Sharing())
    trained = [(share, one) for share in shares for one in assembler.showings(share)]
    assert [one.showing for one in seen] == [showing for _, showing in trained]
    assert [one.step for one in seen] == [share.step for share, _ in trained]
    for one, (_, showing) in zip(seen, trained, strict=True):
        (pixels,) = load_batch([cutout(showing.sample, showing.crop)])
        assert np.array_equal(one.pixels, pixels)
    assert {one.showing.crop.flipped for one in seen} == {True, False}


def test_what_is_cut_off_is_not_read(tmp_path: Path) -> None:
    plain = values(tmp_path, shuffle_caption=False, caption_tag_dropout_rate=0)
    view = view_of(Reading(TrainNetworkJob, plain), epoch=1, family=None)
    long = next(one for one in seen_samples(view) if "word39" in one.showing.caption)
    assert long.num_tokens == count_tokens(LONG) > 75
    assert count_tokens(LONG[: long.num_read]) == 75
    longer = Reading(TrainNetworkJob, {**plain, "max_token_length": 225})
    wide = view_of(longer, epoch=1, family=None)
    whole = next(one for one in seen_samples(wide) if "word39" in one.showing.caption)
    assert whole.num_read == len(LONG)
    assert wide.max_tokens == 225


def test_masked_parts_are_dark(tmp_path: Path) -> None:
    pixels = np.full((1, 2, 4), 200, np.uint8)
    pixels[0, :, 3] = (255, 0)
    # Where nothing is learned a quarter of the light is left.
    assert np.asarray(shaded(pixels)).tolist() == [[[200] * 3, [50] * 3]]


def test_the_command_draws_some_and_says_what_is_wrong(tmp_path: Path) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in values(tmp_path).items()]
    config = tmp_path / "job.toml"
    config.write_text("\n".join(lines))
    given = ["--config_file", str(config), "--pictures", str(tmp_path / "small")]
    given += ["--result", str(tmp_path / "seen.json"), "--count", "4"]
    assert main(given) == 0
    found = json.loads((tmp_path / "seen.json").read_text("utf-8"))
    assert (len(found["rows"]), found["num_showings"]) == (4, 6)
    view = view_of(Reading(TrainNetworkJob, values(tmp_path)), epoch=1, family=None)
    for row, one in zip(found["rows"], islice(seen_samples(view), 4), strict=True):
        assert row["read"] + row["cut"] == one.showing.caption
        assert Path(row["file"]).is_file()
        assert row["loss_weight"] == 1.0
    config.write_text('train_data_dir = "nowhere"\n')
    assert main(given) == 2
