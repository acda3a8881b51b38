"""What nvidia-smi, the kernel and Windows answer, turned into hardware."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.setup import hardware
from tools.setup.console import Outcome
from tools.setup.hardware import Gpu, detect, gfx_name, parse_nvidia_smi

SMI = "NVIDIA GeForce RTX 4090, 580.95.05, 8.9, 24564\nTesla M40, 580.95.05, 5.2, 11448\n"
BANNER = "| NVIDIA-SMI 580.95.05    Driver Version: 580.95.05    CUDA Version: 13.0  |\n"


def on(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, tool: str | None) -> None:
    monkeypatch.setattr(hardware.platform, "system", lambda: system)
    monkeypatch.setattr(hardware.platform, "machine", lambda: machine)
    monkeypatch.setattr(hardware.shutil, "which", lambda _name: tool)
    monkeypatch.setattr(hardware, "NVIDIA_SMI_PLACES", ())


def add_pci(sysfs: Path, vendor: str, kind: str = "0x030000") -> None:
    device = sysfs / "bus" / "pci" / "devices" / "0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(vendor + "\n")
    (device / "class").write_text(kind + "\n")


def test_nvidia_cards_driver_and_cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, "Linux", "x86_64", "nvidia-smi")

    def question(command: Sequence[str]) -> Outcome:
        return Outcome(0, SMI if len(command) > 1 else BANNER)

    found = detect(question, tmp_path)
    assert (found.vendor, found.driver, found.cuda) == ("nvidia", "580.95.05", "13.0")
    assert [gpu.capability for gpu in found.gpus] == [(8, 9), (5, 2)]
    assert found.gpus[0].memory_mib == 24564
    assert "RTX 4090" in found.describe()
    assert "580.95.05" in found.describe()


def test_an_answer_that_is_not_available_is_not_guessed() -> None:
    gpus, driver = parse_nvidia_smi("GRID A100, 470.1, [N/A], [N/A]\nsome warning\n")
    assert gpus == (Gpu("GRID A100", None, None),)
    assert driver == "470.1"


def test_a_driver_that_does_not_answer_is_trouble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, "Linux", "x86_64", "nvidia-smi")
    broken = Outcome(18, "Failed to initialize NVML: Driver/library version mismatch\n")
    found = detect(lambda _command: broken, tmp_path)
    assert found.vendor == "nvidia"
    assert "version mismatch" in str(found.trouble)


def test_a_card_without_a_driver_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, "Linux", "x86_64", None)
    add_pci(tmp_path, "0x10de")
    found = detect(lambda _command: Outcome(None), tmp_path)
    assert (found.vendor, found.trouble) == ("nvidia", "its driver is not installed")


def test_an_nvidia_network_device_is_no_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on(monkeypatch, "Linux", "x86_64", None)
    add_pci(tmp_path, "0x10de", kind="0x020000")
    assert detect(lambda _command: Outcome(None), tmp_path).vendor == "none"


@pytest.mark.parametrize(
    ("number", "name"),
    [(110000, "gfx1100"), (90010, "gfx90a"), (90402, "gfx942"), (120001, "gfx1201")],
)
def test_gfx_names(number: int, name: str) -> None:
    assert gfx_name(number) == name


def test_amd_is_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, "Linux", "x86_64", None)
    for node, version in (("0", 0), ("1", 110000)):  # node 0 is the processor
        folder = tmp_path / "class" / "kfd" / "kfd" / "topology" / "nodes" / node
        folder.mkdir(parents=True)
        (folder / "properties").write_text(f"cpu_cores_count 8\ngfx_target_version {version}\n")
    found = detect(lambda _command: Outcome(None), tmp_path)
    assert (found.vendor, found.gpus) == ("amd", (Gpu("AMD gfx1100", "gfx1100"),))


def test_amd_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on(monkeypatch, "Windows", "AMD64", None)
    found = detect(lambda _command: Outcome(0, "AMD Radeon RX 7900 XTX\r\n"), tmp_path)
    assert (found.vendor, found.gpus[0].name) == ("amd", "AMD Radeon RX 7900 XTX")
    found = detect(lambda _command: Outcome(0, "Intel(R) UHD Graphics\r\n"), tmp_path)
    assert found.vendor == "none"


@pytest.mark.parametrize(("machine", "vendor"), [("arm64", "apple"), ("x86_64", "none")])
def test_macs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, vendor: str) -> None:
    on(monkeypatch, "Darwin", machine, None)
    assert detect(lambda _command: Outcome(None), tmp_path).vendor == vendor
