"""The failure table: real last words of real programs get the right cause."""

from __future__ import annotations

import pytest

from sd_scripts.options.jobs import JOBS
from sd_scripts.options.schema import option_specs
from sd_scripts.runs.failure import SIGNATURES, explain, last_error_line

LAST_WORDS = {
    "disk_full": ["OSError: [Errno 28] No space left on device", "[WinError 112] There is not"],
    "compiling": [
        "torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:",
        "torch._inductor.exc.InductorError: CppCompileError: C++ compile error",
        "torch._dynamo.exc.FailOnRecompileLimitHit: recompile_limit reached",
    ],
    "gpu_memory": [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: MPS backend out of memory (MPS allocated: 9.00 GB)",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
    ],
    "shared_memory": [
        "RuntimeError: unable to write to file: insufficient shared memory (shm)",
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that",
    ],
    "memory": [
        "MemoryError",
        "numpy.core._exceptions._ArrayMemoryError: x\nbuiltins: MemoryError",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate"
        " memory: you tried to allocate 8589934592 bytes.",
        "OSError: [WinError 1455] The paging file is too small for this operation to complete",
    ],
    "worker_killed": ["RuntimeError: DataLoader worker (pid 812) is killed by signal: Killed."],
    "no_kernel": [
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current",
    ],
    "driver": [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        "AssertionError: Torch not compiled with CUDA enabled",
        "CUDA driver version is insufficient for CUDA runtime version",
    ],
    "device_fault": [
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
    "nan": ["The loss is nan at step 12.", "RuntimeError: non-finite loss", "NaN detected in x"],
    "picture": [
        "PIL.UnidentifiedImageError: cannot identify image file '/p/ü 1.png'",
        "OSError: image file is truncated (3 bytes not processed)",
    ],
    "model_file": [
        "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
        "RuntimeError: PytorchStreamReader failed reading zip archive",
    ],
    "size_mismatch": [
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (77x768 and 1024x320)"
    ],
    "dtype": [
        "RuntimeError: expected mat1 and mat2 to have the same dtype, but got: float != c10::Half",
        "RuntimeError: expected scalar type Half but found Float",
        "RuntimeError: \"LayerNormKernelImpl\" not implemented for 'Half'",
    ],
    "import": [
        "ModuleNotFoundError: No module named 'diffusers'",
        "ImportError: DLL load failed while importing _C: The specified module could not be found.",
    ],
    "offline": ["huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files"],
    "permission": ["PermissionError: [Errno 13] Permission denied: '/mnt/out/x.safetensors'"],
    "missing_file": ["FileNotFoundError: [Errno 2] No such file or directory: '/mnt/ü/model.ckpt'"],
    "too_many_files": ["OSError: [Errno 24] Too many open files"],
    "crash": ["Fatal Python error: Segmentation fault", "Segmentation fault (core dumped)"],
    "interrupted": ["KeyboardInterrupt"],
}


def test_every_row_of_the_table_is_tried() -> None:
    assert set(LAST_WORDS) == {signature.kind for signature in SIGNATURES}


@pytest.mark.parametrize(
    ("kind", "words"), [(kind, words) for kind, all_ in LAST_WORDS.items() for words in all_]
)
def test_last_words_are_understood(kind: str, words: str) -> None:
    found = explain(f"step 5/10 loss 0.1\nTraceback (most recent call last):\n  File x\n{words}\n")
    assert found is not None
    assert found.kind == kind
    assert found.cause
    assert found.hint
    assert "{" not in found.cause


def test_the_file_is_named() -> None:
    assert "/mnt/ü/model.ckpt" in explain(LAST_WORDS["missing_file"][0]).cause  # type: ignore[union-attr]
    assert "ü 1.png" in explain(LAST_WORDS["picture"][0]).cause  # type: ignore[union-attr]
    assert "diffusers" in explain(LAST_WORDS["import"][0]).cause  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "words",
    ["", "step 5/10  loss 0.1234", "cached 12 of 40 pictures in memory", "Saved nanny.safetensors"],
)
def test_ordinary_words_explain_nothing(words: str) -> None:
    assert explain(words) is None


def test_the_last_traceback_counts_more_than_what_came_before() -> None:
    text = (
        "warning: Permission denied: '/tmp/x' (passed over)\n"
        "Traceback (most recent call last):\n  ...\nModuleNotFoundError: No module named 'torch'\n"
    )
    found = explain(text)
    assert found is not None
    assert found.kind == "import"


def test_options_that_are_named_exist() -> None:
    known = {spec.name for job in JOBS.values() for spec in option_specs(job)}
    assert {s.option for s in SIGNATURES if s.option} <= known


def test_the_error_line_is_the_exception() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "a.py", line 3, in <module>\n'
        "    raise ValueError(\n"
        "        ^^^^^\n"
        "ValueError: wrong\nmore of it\n"
    )
    assert last_error_line(text) == "ValueError: wrong"
    assert last_error_line("all is well") is None
    assert last_error_line("Traceback (most recent call last):\n") is None
