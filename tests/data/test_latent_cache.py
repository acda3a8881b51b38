"""The latent cache: what is encoded, why, and that nothing stale or half written is ever used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from sd_scripts.data import encoding, latent_cache
from sd_scripts.data.latents import encode_moments, to_tensor
from sd_scripts.data.long_work import EncodeSettings, Hooks
from sd_scripts.data.pixels import load_pixels
from sd_scripts.dataset.plan import plan_dataset
from sd_scripts.errors import UserError
from sd_scripts.options.groups.caption import CaptionOptions
from sd_scripts.options.groups.data import DataOptions
from tests.data.helpers import (
    ENCODE,
    QUIET,
    FakeVae,
    filled_cache,
    make_cache,
    make_folder,
    make_plan,
    picture,
)

SIZES = [(128, 128), (400, 100), (128, 128), (100, 400), (300, 300)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "Bilder mit ä 図", SIZES)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache é"


def encode_again(folder: Path, cache_dir: Path, vae: FakeVae | None = None, **changes: object):
    """Plan anew with a fresh cache object, as a new start does: (reasons, views encoded)."""
    identity = {name: changes.pop(name) for name in ("weights", "dtype") if name in changes}
    plan = make_plan(folder, cache_dir, **changes)
    cache = make_cache(cache_dir, **identity)  # type: ignore[arg-type]
    missing = cache.plan(plan, QUIET)
    vae = vae or FakeVae()
    outcome = cache.encode(missing, vae, ENCODE, QUIET)  # type: ignore[arg-type]
    assert outcome.state == "complete"
    assert outcome.num_done == vae.num_encoded
    return dict(missing.reasons), vae.num_encoded


def test_everything_is_encoded_once_and_then_reused(folder: Path, cache_dir: Path) -> None:
    assert encode_again(folder, cache_dir) == ({"new": 5}, 5)
    assert encode_again(folder, cache_dir) == ({}, 0)
    plan = make_plan(folder, cache_dir)
    assert make_cache(cache_dir).plan(plan, QUIET).text == (
        "all 5 pictures are in the latent cache"
    )


def test_moments_are_those_of_the_vae(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    cache = filled_cache(plan, cache_dir)
    fresh = make_cache(cache_dir)
    fresh.plan(plan, QUIET)
    for sample in plan.samples:
        left = (sample.resized[0] - sample.bucket[0]) // 2
        top = (sample.resized[1] - sample.bucket[1]) // 2
        width, height = sample.bucket
        pixels = load_pixels(sample)[top : top + height, left : left + width]
        expected = encode_moments(FakeVae(), to_tensor(pixels[None].copy()))[0]  # type: ignore[arg-type]
        assert torch.equal(cache.moments(sample, False), expected)
        assert torch.equal(fresh.moments(sample, False), expected)
        assert expected.shape == (8, height // 8, width // 8)


def test_an_edited_picture_is_encoded_again(folder: Path, cache_dir: Path) -> None:
    encode_again(folder, cache_dir)
    picture(128, 128, seed=99).save(folder / "002.png")
    assert encode_again(folder, cache_dir) == ({"edited": 1}, 1)
    assert encode_again(folder, cache_dir) == ({}, 0)


def test_a_copied_or_renamed_picture_is_not_encoded_again(folder: Path, cache_dir: Path) -> None:
    encode_again(folder, cache_dir)
    (folder / "000.png").rename(folder / "zzz.png")
    (folder / "copy.png").write_bytes((folder / "001.png").read_bytes())
    assert encode_again(folder, cache_dir) == ({}, 0)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"weights": "other"}, {"another VAE": 5}),
        ({"dtype": "bfloat16"}, {"another precision": 5}),
        ({"resolution": 192}, {"another size": 3}),
        ({"resize_interpolation": "bicubic"}, {"another resizing method": 5}),
        ({"flip_aug": True}, {"to be mirrored now": 5}),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_the_reason_for_encoding_again_is_known(
    folder: Path, cache_dir: Path, changes: dict[str, object], reasons: dict[str, int]
) -> None:
    encode_again(folder, cache_dir)
    assert encode_again(folder, cache_dir, **changes) == (reasons, sum(reasons.values()))
    assert encode_again(folder, cache_dir) == ({}, 0)  # what was there before still is


def test_another_version_of_the_code_has_other_entries(
    folder: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_again(folder, cache_dir)
    monkeypatch.setattr(latent_cache, "CODE_VERSION", "0")
    assert encode_again(folder, cache_dir)[0] == {"made by another version of this program": 5}


def test_an_entry_that_vanished_is_made_again(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    cache = filled_cache(plan, cache_dir)
    cache.store.path_of(cache.key(plan.samples[1], False)).unlink()
    assert encode_again(folder, cache_dir) == ({"gone from the cache": 1}, 1)


def test_a_damaged_entry_is_removed_and_told(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    cache = filled_cache(plan, cache_dir)
    path = cache.store.path_of(cache.key(plan.samples[1], False))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged") as caught:
        cache.moments(plan.samples[1], False)
    assert caught.value.problems[0].option == "cache_dir"
    assert encode_again(folder, cache_dir)[1] == 1


def test_memory_cache_writes_nothing_and_uses_what_is_on_disk(
    folder: Path, cache_dir: Path
) -> None:
    plan = make_plan(folder, cache_dir)
    vae = FakeVae()
    cache = filled_cache(plan, cache_dir, vae, in_memory=True)
    assert vae.num_encoded == 5
    assert not (cache_dir / "latents").exists()
    expected = [cache.moments(sample, False) for sample in plan.samples]
    filled_cache(plan, cache_dir)
    vae = FakeVae()
    again = filled_cache(plan, cache_dir, vae, in_memory=True)
    assert vae.num_encoded == 0
    for sample, moments in zip(plan.samples, expected, strict=True):
        assert torch.equal(again.moments(sample, False), moments)


def test_mirrored_pictures_are_encoded_from_mirrored_pixels(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir, flip_aug=True)
    vae = FakeVae()
    cache = filled_cache(plan, cache_dir, vae)
    assert vae.num_encoded == 10
    for sample in plan.samples:
        plain, mirrored = (cache.moments(sample, flipped) for flipped in (False, True))
        assert not torch.equal(plain, mirrored)
        torch.testing.assert_close(plain.flip(-1), mirrored, atol=1e-5, rtol=0)


def test_the_same_picture_twice_is_encoded_once(tmp_path: Path, cache_dir: Path) -> None:
    folder = make_folder(tmp_path / "set", [(128, 128)])
    (folder / "twin.png").write_bytes((folder / "000.png").read_bytes())
    plan = make_plan(folder, cache_dir)
    vae = FakeVae()
    cache = filled_cache(plan, cache_dir, vae)
    assert vae.num_encoded == 1
    assert torch.equal(cache.moments(plan.samples[0], False), cache.moments(plan.samples[1], False))


def test_batches_hold_one_bucket_and_no_more_than_asked(folder: Path, cache_dir: Path) -> None:
    vae = FakeVae()
    filled_cache(make_plan(folder, cache_dir), cache_dir, vae)
    assert [shape[0] for shape in vae.batches] == [1, 2, 1, 1]
    assert len({shape[2:] for shape in vae.batches}) == 3


def test_random_crops_are_never_cached(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir, random_crop=True)
    assert make_cache(cache_dir).plan(plan, QUIET).jobs == ()


def test_nan_names_the_picture_and_the_remedy(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    cache = make_cache(cache_dir)
    vae = FakeVae(gain=float("inf"), dtype=torch.float16)
    with pytest.raises(UserError, match=r"000\.png|001\.png|003\.png") as caught:
        cache.encode(cache.plan(plan, QUIET), vae, ENCODE, QUIET)  # type: ignore[arg-type]
    problem = caught.value.problems[0]
    assert "no_half_vae" in (problem.option or "")
    assert "no_half_vae" in (problem.hint or "")
    assert len(make_cache(cache_dir).plan(plan, QUIET).jobs) == 5


def test_nan_in_full_precision_does_not_blame_half_precision(folder: Path, cache_dir: Path) -> None:
    cache = make_cache(cache_dir)
    missing = cache.plan(make_plan(folder, cache_dir), QUIET)
    with pytest.raises(UserError) as caught:
        cache.encode(missing, FakeVae(gain=float("nan")), ENCODE, QUIET)  # type: ignore[arg-type]
    assert "no_half_vae" not in (caught.value.problems[0].hint or "")


def test_stop_between_batches_keeps_what_is_done(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    cache = make_cache(cache_dir)
    seen: list[tuple[int, int]] = []
    hooks = Hooks(
        progress=lambda name, done, total: seen.append((done, total)),
        should_stop=lambda: bool(seen) and seen[-1][0] >= 2,
    )
    outcome = cache.encode(cache.plan(plan, QUIET), FakeVae(), ENCODE, hooks)  # type: ignore[arg-type]
    assert outcome.state == "stopped"
    assert 2 <= outcome.num_done < 5
    assert seen[0] == (0, 5)
    left = make_cache(cache_dir).plan(plan, QUIET)
    assert len(left.jobs) == 5 - outcome.num_done
    assert dict(left.reasons) == {"new": len(left.jobs)}


def test_progress_counts_every_view(folder: Path, cache_dir: Path) -> None:
    seen: list[int] = []
    cache = make_cache(cache_dir)
    missing = cache.plan(make_plan(folder, cache_dir, flip_aug=True), QUIET)
    hooks = Hooks(progress=lambda name, done, total: seen.append(done))
    cache.encode(missing, FakeVae(), ENCODE, hooks)  # type: ignore[arg-type]
    assert seen == sorted(seen)
    assert seen[-1] == 10


def break_inside(path: Path) -> None:
    """Damage a PNG so that its header and its end are right, as disks do."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)


@pytest.mark.parametrize("bad_images", ["skip", "error"])
def test_a_broken_picture_is_left_out_of_the_next_plan_or_refused(
    folder: Path, cache_dir: Path, bad_images: str
) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(
        folder / "002.png"
    )
    break_inside(folder / "002.png")
    plan = make_plan(folder, cache_dir, bad_images=bad_images)
    assert len(plan.samples) == 5
    cache = make_cache(cache_dir)
    outcome = cache.encode(cache.plan(plan, QUIET), FakeVae(), ENCODE, QUIET)  # type: ignore[arg-type]
    assert outcome.state == "broken"
    assert outcome.num_done == 4
    assert [problem.path.name for problem in outcome.broken] == ["002.png"]
    data = DataOptions.model_validate(
        {
            "train_data_dir": str(folder),
            "resolution": 128,
            "cache_dir": str(cache_dir),
            "bad_images": bad_images,
        }
    )
    captions = CaptionOptions.model_validate({"caption_extension": ".txt"})
    again = plan_dataset(data, captions, family="sd1")
    assert any("002.png" in problem.message for problem in again.problems)
    assert bool(again.errors) == (bad_images == "error")
    if bad_images == "skip":
        assert encode_again(folder, cache_dir) == ({}, 0)
        assert [sample.path.name for sample in again.samples] == [
            "000.png", "001.png", "003.png", "004.png",
        ]  # fmt: skip


def test_a_vanished_picture_is_told(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    (folder / "003.png").unlink()
    with pytest.raises(UserError, match=r"003\.png"):
        make_cache(cache_dir).plan(plan, QUIET)


def test_a_cache_folder_that_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(folder, tmp_path / "index")
    blocked = tmp_path / "cache"
    blocked.mkdir()
    (blocked / "latents").write_text("a file where the folder should be")
    cache = make_cache(blocked)
    with pytest.raises(UserError) as caught:
        cache.encode(cache.plan(plan, QUIET), FakeVae(), ENCODE, QUIET)  # type: ignore[arg-type]
    assert caught.value.problems[0].option == "cache_dir"


def test_two_caches_may_write_the_same_entries_at_once(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(3):
                cache = make_cache(cache_dir)
                missing = cache.plan(plan, QUIET)
                for job in missing.jobs:
                    cache.store.path_of(job.keys[False]).unlink(missing_ok=True)
                cache.encode(missing, FakeVae(), ENCODE, QUIET)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001  (told by the test)
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert encode_again(folder, cache_dir)[1] == 0
    assert not list(cache_dir.rglob("*.part"))


def test_what_a_killed_process_left_is_never_used(folder: Path, cache_dir: Path) -> None:
    """Kill a process while it writes entries as fast as it can; every entry there is whole."""
    script = textwrap.dedent("""
        import sys, torch
        from pathlib import Path
        from sd_scripts.data.store import TensorStore
        store = TensorStore(Path(sys.argv[1]))
        number = 0
        while True:
            number += 1
            store.save(f"ab{number:038d}", {"moments": torch.full((8, 64, 64), float(number))})
            print(number, flush=True)
    """)
    root = cache_dir / "latents"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    store = make_cache(cache_dir).store
    keys = {f"ab{number:038d}" for number in range(1, 2000)}
    found = store.existing(keys)
    assert len(found) >= 20
    for key in found:
        assert (store.load(key)["moments"] == int(key[2:])).all()


def test_old_leftovers_are_removed_and_young_ones_are_not(folder: Path, cache_dir: Path) -> None:
    plan = make_plan(folder, cache_dir)
    cache = filled_cache(plan, cache_dir)
    place = cache.store.path_of(cache.key(plan.samples[0], False)).parent
    old, young = place / ".x.1.part", place / ".x.2.part"
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (time.time() - 200_000,) * 2)
    cache.plan(plan, QUIET)
    assert not old.exists()
    assert young.exists()


def test_a_real_vae_and_decoding_in_many_threads(folder: Path, cache_dir: Path) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, norm_num_groups=4,
        latent_channels=4,
    ).eval()  # fmt: skip
    plan = make_plan(folder, cache_dir)
    cache = make_cache(cache_dir)
    settings = EncodeSettings(vae_batch_size=1, decode_threads=8)
    assert cache.encode(cache.plan(plan, QUIET), vae, settings, QUIET).state == "complete"
    sample = plan.samples[0]
    pixels = to_tensor(load_pixels(sample)[None])
    with torch.no_grad():
        expected = vae.encode(pixels).latent_dist
    mean, log_variance = cache.moments(sample, False).chunk(2)
    torch.testing.assert_close(mean, expected.mean[0])
    torch.testing.assert_close(log_variance, expected.logvar[0])


def test_a_failed_write_is_raised(
    folder: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "_MAX_PENDING_WRITES", 0)
    cache = make_cache(cache_dir)
    missing = cache.plan(make_plan(folder, cache_dir), QUIET)

    def full_disk(key: str, tensors: object) -> None:
        raise UserError("no space left", option="cache_dir")

    monkeypatch.setattr(cache.store, "save", full_disk)
    vae = FakeVae()
    with pytest.raises(UserError, match="no space left"):
        cache.encode(missing, vae, ENCODE, QUIET)  # type: ignore[arg-type]
    assert len(vae.batches) == 1
