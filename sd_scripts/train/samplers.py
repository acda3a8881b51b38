"""Samplers of preview pictures by their known names, as diffusers schedulers."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

import diffusers
from diffusers import SchedulerMixin

_NOISE: Final = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def _make(name: str, **settings: Any) -> Callable[[dict[str, Any]], SchedulerMixin]:
    def make(shared: dict[str, Any]) -> SchedulerMixin:
        kind = getattr(diffusers, name)
        names = inspect.signature(kind).parameters
        wanted = {"steps_offset": 1, **settings, **shared}
        with warnings.catch_warnings():
            # diffusers advises against dpmsolver, which the user has chosen and it still has.
            warnings.simplefilter("ignore", FutureWarning)
            sampler: SchedulerMixin = kind(
                **{key: value for key, value in wanted.items() if key in names}
            )
        return sampler

    return make


SCHEDULERS: Final[Mapping[str, Callable[[dict[str, Any]], SchedulerMixin]]] = {
    "ddim": _make("DDIMScheduler", clip_sample=False, set_alpha_to_one=False),
    "pndm": _make("PNDMScheduler", skip_prk_steps=True),
    "lms": _make("LMSDiscreteScheduler"),
    "euler": _make("EulerDiscreteScheduler"),
    "euler_a": _make("EulerAncestralDiscreteScheduler"),
    "heun": _make("HeunDiscreteScheduler"),
    "dpm_2": _make("KDPM2DiscreteScheduler"),
    "dpm_2_a": _make("KDPM2AncestralDiscreteScheduler"),
    "dpmsolver": _make(
        "DPMSolverMultistepScheduler", algorithm_type="dpmsolver", final_sigmas_type="sigma_min"
    ),
    "dpmsolver++": _make("DPMSolverMultistepScheduler", algorithm_type="dpmsolver++"),
    "dpmsingle": _make("DPMSolverSinglestepScheduler", lower_order_final=True),
}
"""Each takes the settings that depend on the model; `k_` names mean the same samplers."""


def make_sampler(name: str, *, prediction_type: str, zero_terminal_snr: bool) -> SchedulerMixin:
    """Make the sampler `name`, fitting to what the model predicts.

    With zero terminal SNR the betas are rescaled and the time steps end at the last one, where
    the sampler can do so (Lin et al. 2023, https://arxiv.org/abs/2305.08891).
    """
    shared: dict[str, Any] = {**_NOISE, "prediction_type": prediction_type}
    if zero_terminal_snr:
        shared |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return SCHEDULERS[name.removeprefix("k_")](shared)
