"""Which PyTorch build each kind of machine gets."""

from __future__ import annotations

import pytest

from tools.setup.console import SetupError
from tools.setup.hardware import Gpu, Hardware
from tools.setup.torch_builds import BUILDS, PLAIN_BUILD, choose, index_url

Capabilities = list[tuple[int, int] | None]


def nvidia(driver: str, capabilities: Capabilities, system: str = "Linux") -> Hardware:
    gpus = tuple(Gpu(f"Card {number}", cap) for number, cap in enumerate(capabilities))
    return Hardware(system, "x86_64", "nvidia", gpus, driver, "13.0")


@pytest.mark.parametrize(
    ("driver", "capabilities", "tag", "warned"),
    [
        ("580.95.05", [(8, 9)], "cu130", False),
        ("580.95.05", [(12, 0)], "cu130", False),
        ("570.124.06", [(8, 6)], "cu126", False),  # driver before CUDA 13
        ("580.95.05", [(6, 1)], "cu126", False),  # Pascal: no kernels in CUDA 13 builds
        ("580.95.05", [(6, 1), (8, 6)], "cu126", False),  # the build that runs both
        ("580.95.05", [(6, 1), (12, 0)], "cu130", True),  # no build runs both
        ("570.86.10", [(12, 0)], "cu130", True),  # needs a newer driver
        ("470.223.02", [(8, 6)], "cu130", True),  # far too old a driver
        ("580.95.05", [(3, 5)], "cpu", False),  # far too old a card
        ("580.95.05", [None], "cu130", False),  # capability not told
        ("535.54.03", [None], "cu126", False),
    ],
)
def test_nvidia(driver: str, capabilities: Capabilities, tag: str, warned: bool) -> None:
    choice = choose(nvidia(driver, capabilities))
    assert choice.tag == tag
    assert bool(choice.warnings) is warned


def test_an_old_driver_is_named_with_the_version_to_have() -> None:
    (warning,) = choose(nvidia("570.86.10", [(12, 0)])).warnings
    assert "570.86.10" in warning
    assert "580" in warning


@pytest.mark.parametrize(
    ("system", "gfx", "tag", "warned"),
    [
        ("Linux", "gfx1100", "rocm7.2", False),
        ("Linux", "gfx1036", "cpu", True),
        ("Windows", None, "cpu", True),
    ],
)
def test_amd(system: str, gfx: str | None, tag: str, warned: bool) -> None:
    choice = choose(Hardware(system, "x86_64", "amd", (Gpu("Radeon", gfx),)))
    assert (choice.tag, bool(choice.warnings)) == (tag, warned)


def test_the_others() -> None:
    assert choose(Hardware("Darwin", "arm64", "apple")).tag == "mps"
    assert choose(Hardware("Linux", "x86_64", "none")).tag == "cpu"
    trouble = choose(Hardware("Linux", "x86_64", "nvidia", trouble="its driver is not installed"))
    assert trouble.tag == "cpu"
    assert "its driver is not installed" in trouble.reason
    with pytest.raises(SetupError, match="Intel"):
        choose(Hardware("Darwin", "x86_64", "none"))


def test_a_choice_by_hand_wins_where_it_can() -> None:
    linux = Hardware("Linux", "x86_64", "none")
    assert choose(linux, "cu126").tag == "cu126"
    assert choose(linux, "auto").tag == "cpu"
    unlisted = choose(linux, "cu141")
    assert (unlisted.tag, len(unlisted.warnings)) == ("cu141", 1)
    with pytest.raises(SetupError, match="names no build"):
        choose(linux, "cuda")
    with pytest.raises(SetupError, match="does not exist for Linux"):
        choose(linux, "mps")
    with pytest.raises(SetupError, match="does not exist for Windows"):
        choose(Hardware("Windows", "AMD64", "none"), "rocm7.2")


def test_the_table_fits_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for tag, build in BUILDS.items():
        assert tag == build.tag
        assert build.disk_gb > build.download_gb > 0
        assert (build.min_driver is not None) == tag.startswith("cu")
    for system, tag in PLAIN_BUILD.items():
        assert system in BUILDS[tag].systems
    monkeypatch.setenv("KOHYA_TORCH_INDEX", "http://mirror/whl/")
    assert index_url("cu130") == "http://mirror/whl/cu130"
    assert index_url("mps") is None
