"""Which encoder made a cache entry: a hash of its weights, remembered so that it is taken once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sd_scripts.data.memo import read_memo, write_memo
from sd_scripts.data.store import content_key


@dataclass(frozen=True)
class EncoderIdentity:
    """An encoder as cache keys see it: its weights, and the precision it computes in."""

    weights: str
    dtype: str


def module_hash(modules: Sequence[nn.Module]) -> str:
    """Return a hash (32 hex digits) of all weights: names, dtypes, shapes and bytes.

    The same weights give the same hash whatever file they came from, so that two checkpoints with
    one VAE share their latents.
    """
    named = [
        (f"{number}.{name}", tensor)
        for number, module in enumerate(modules)
        for name, tensor in sorted(module.state_dict().items())
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(_tensor_digest, named))
    return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()


def _tensor_digest(item: tuple[str, Tensor]) -> bytes:
    name, tensor = item
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    flat = tensor.detach().to("cpu").contiguous().flatten()
    if flat.numel():
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.digest()


def encoder_identity(
    cache_dir: Path,
    part: str,
    files: Sequence[Path],
    dtype: torch.dtype,
    load: Callable[[], Sequence[nn.Module]],
) -> EncoderIdentity:
    """Return the identity of an encoder, without loading it if its files are known already.

    `part` names it ("vae", "text_encoders"), `files` are all the files its weights come from;
    `load` gives its modules, in `dtype`, and is only called for files that are new or changed
    (by path, size and modification time).
    """
    name = str(dtype).removeprefix("torch.")
    stats = [(path, path.stat()) for path in files]
    state = {str(path.resolve()): (stat.st_size, stat.st_mtime_ns) for path, stat in stats}
    key = content_key({"part": part, "dtype": name, "files": sorted(state.items())})
    memo = cache_dir / "encoders" / f"{key}.json"
    remembered = _remembered(memo)
    if remembered is None:
        remembered = module_hash(load())
        facts = {"part": part, "dtype": name, "files": list(state), "weights": remembered}
        write_memo(memo, facts)
    return EncoderIdentity(remembered, name)


def _remembered(memo: Path) -> str | None:
    facts = read_memo(memo)
    weights = facts.get("weights") if isinstance(facts, dict) else None
    return weights if isinstance(weights, str) else None
