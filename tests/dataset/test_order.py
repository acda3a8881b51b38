"""The order of an epoch: complete, repeatable, and never mixing what must not be mixed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sd_scripts.dataset.order import epoch_batches, stream_seed
from tests.dataset.make import plan_of

SQUARE, WIDE = (512, 512), (768, 320)

specs = st.lists(
    st.tuples(st.sampled_from([SQUARE, WIDE, (320, 768)]), st.integers(1, 5)), max_size=12
)
plans = st.lists(st.tuples(st.integers(1, 5), specs), min_size=1, max_size=3).map(
    lambda datasets: plan_of(*datasets)
)


@given(plans, st.integers(0, 2**40), st.integers(1, 50))
def test_every_showing_comes_once_and_batches_never_mix(plan, seed, epoch):
    batches = epoch_batches(plan, seed=seed, epoch=epoch)
    shown = Counter(entry for batch in batches for entry in batch.entries)
    assert shown == Counter(
        (sample.id, repeat) for sample in plan.samples for repeat in range(sample.num_repeats)
    )
    for batch in batches:
        assert 1 <= len(batch.entries) <= plan.datasets[batch.dataset].settings.batch_size
        for entry in batch.entries:
            sample = plan.samples[entry.sample_id]
            assert (sample.dataset, sample.bucket) == (batch.dataset, batch.bucket)
    assert len(batches) == plan.num_batches_per_epoch


def test_the_same_seed_and_epoch_give_the_same_order():
    plan = plan_of((2, [(SQUARE, 3), (WIDE, 4), (SQUARE, 2)]))
    assert epoch_batches(plan, seed=7, epoch=3) == epoch_batches(plan, seed=7, epoch=3)


def test_other_epochs_and_other_seeds_give_other_orders():
    plan = plan_of((1, [(SQUARE, 1)] * 30))
    first = epoch_batches(plan, seed=7, epoch=1)
    assert first != epoch_batches(plan, seed=7, epoch=2)
    assert first != epoch_batches(plan, seed=8, epoch=1)


def test_the_order_of_a_seed_does_not_change_between_versions():
    plan = plan_of((2, [(SQUARE, 2), (WIDE, 1), (SQUARE, 1)]))
    told = [
        (batch.bucket, [tuple(entry) for entry in batch.entries])
        for batch in epoch_batches(plan, seed=42, epoch=1)
    ]
    assert told == GOLDEN_ORDER


GOLDEN_ORDER = [(WIDE, [(1, 0)]), (SQUARE, [(0, 0)]), (SQUARE, [(2, 0), (0, 1)])]


def test_stream_seeds_are_fixed_small_enough_and_all_different():
    assert stream_seed(42, 1, 0, 0, "noise") == 7288190717223543142
    seeds = {
        stream_seed(seed, epoch, sample, repeat, purpose)
        for seed in (0, 1)
        for epoch in (1, 2, 11)
        for sample in (0, 1, 11)
        for repeat in (0, 1)
        for purpose in ("noise", "caption")
    }
    assert len(seeds) == 2 * 3 * 3 * 2 * 2
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_empty_plan_has_no_batches():
    assert epoch_batches(plan_of((4, [])), seed=1, epoch=1) == []


def test_the_fingerprint_tells_plans_apart_that_give_another_order():
    base = [(SQUARE, 2), (WIDE, 1)]
    plan = plan_of((2, base))
    assert plan.fingerprint() == plan_of((2, base)).fingerprint()
    others = [
        plan_of((3, base)),
        plan_of((2, [(SQUARE, 3), (WIDE, 1)])),
        plan_of((2, [(WIDE, 2), (WIDE, 1)])),
        plan_of((2, base[:1])),
        plan_of((2, base[:1]), (2, base[1:])),
    ]
    assert len({plan.fingerprint(), *(other.fingerprint() for other in others)}) == 6
