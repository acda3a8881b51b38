"""Write every rank of a DyLoRA file as a LoRA file of its own, named by its rank."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sd_scripts.errors import UserError
from sd_scripts.weights.files import load_tensors, read_metadata, save_tensors
from sd_scripts.weights.hashes import tensor_hashes
from sd_scripts.weights.lora_slices import growth_of, rank_of, slice_lora


def write_slices(model: Path, save_to: Path, unit: int) -> list[Path]:
    """Write `save_to` with "-0004" and so on in its name, at every multiple of `unit`.

    Returns the files. Raises `UserError` if `model` is no LoRA, and `OSError` if a file cannot be
    written.
    """
    tensors, metadata = load_tensors(model, "model"), read_metadata(model)
    whole = rank_of(tensors)
    if whole % unit:
        raise UserError(
            f"The rank {whole} is no multiple of unit {unit}",
            option="unit",
            hint="Give the unit it was trained with.",
        )
    written = []
    for rank in range(unit, whole + 1, unit):
        cut = slice_lora(tensors, rank, growth_of(metadata))
        told = {**metadata, "ss_network_dim": str(rank)}
        hashes = tensor_hashes(cut, told)
        told |= {"sshs_model_hash": hashes.model, "sshs_legacy_hash": hashes.legacy}
        path = save_to.with_name(f"{save_to.stem}-{rank:04d}{save_to.suffix}")
        save_tensors(cut, path, told)
        written.append(path)
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and write the files; 2 if the user can mend what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.slice_dylora", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the DyLoRA file")
    parser.add_argument("--save_to", type=Path, required=True, help="name of the files to write")
    parser.add_argument("--unit", type=int, default=1, help="the unit it was trained with")
    options = parser.parse_args(argv)
    try:
        for path in write_slices(options.model, options.save_to, options.unit):
            print(path)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
