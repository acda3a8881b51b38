"""The optimizers that sd-scripts knows by name, with their arguments; nothing is imported."""

from __future__ import annotations

from typing import Final

from sd_scripts.options.optimizer_entries import (
    ADAM,
    AMSGRAD,
    D0,
    FOREACH,
    FUSED,
    GROWTH,
    LARGE_RATES,
    LION_RATES,
    MAXIMIZE,
    MIN_8BIT,
    OWN_RATES,
    SGD,
    Argument,
    OptimizerEntry,
    betas,
    decay,
    eps,
    flag,
    from_bitsandbytes,
    momentum,
    number,
    whole,
)


def _adamw_8bit(name: str, text: str) -> OptimizerEntry:
    return from_bitsandbytes(name, text, *ADAM, decay(0.01))


def _lion_8bit(name: str, text: str) -> OptimizerEntry:
    return from_bitsandbytes(name, text, betas(0.9, 0.99), decay(0.0))


def _d_adaptation(name: str, text: str, *arguments: Argument, kind: str = "") -> OptimizerEntry:
    """A row for dadaptation; `kind` is its class if that has another name."""
    plain = kind or name
    is_experimental = plain in ("DAdaptAdamPreprint", "DAdaptAdanIP")
    return OptimizerEntry(
        name,
        text,
        f"dadaptation{'.experimental' * is_experimental}:{plain}",
        (*arguments, D0),
        usual_rates=OWN_RATES,
        package="dadaptation",
        extra="optimizers",
        sets_own_rate=True,
    )


_D_ADAM: Final = (*ADAM, decay(0.0), flag("decouple", False, "Weight decay as in AdamW."), GROWTH)
_D_ADAN: Final = (
    betas(0.98, 0.92, 0.99),
    eps(1e-8),
    decay(0.02),
    flag("no_prox", False, "Weight decay as in AdamW."),
    GROWTH,
)
_WARMUP: Final = whole("warmup_steps", 0, "Steps over which the rate rises.")
_NESTEROV: Final = (("nesterov", True), ("momentum", 0.9))


def _schedule_free(name: str, text: str, *arguments: Argument) -> OptimizerEntry:
    shared = (
        decay(0.0),
        number("r", 0.0, "How much later weights count more in the average."),
        number("weight_lr_power", 2.0, "How the average follows the rate in warm-up."),
        Argument("foreach", "bool", True, "Update many tensors in one go.", optional=True),
    )
    return OptimizerEntry(
        name,
        text,
        f"schedulefree:{name}",
        (*arguments, *shared),
        usual_rates=LARGE_RATES if name.startswith("SGD") else (1e-5, 1e-1),
        package="schedulefree",
        extra="optimizers",
        schedule_free=True,
    )


KNOWN: Final = (
    OptimizerEntry(
        "AdamW",
        "the dependable default; two extra numbers a trained weight",
        "torch.optim:AdamW",
        (*ADAM, decay(0.01), AMSGRAD, MAXIMIZE, FOREACH, FUSED),
    ),
    _adamw_8bit(
        "AdamW8bit", "AdamW with its memory in 8 bits: a quarter of the optimizer's memory"
    ),
    _adamw_8bit("PagedAdamW", "AdamW that moves its memory off a full graphics card"),
    _adamw_8bit("PagedAdamW8bit", "both: 8 bits, and off a full graphics card"),
    _adamw_8bit("PagedAdamW32bit", "the same as PagedAdamW"),
    OptimizerEntry(
        "Adafactor",
        "saves memory and, unless relative_step=False, chooses its learning rate itself",
        "transformers.optimization:Adafactor",
        (
            Argument("eps", "floats", (1e-30, 1e-3), "Two small stabilisers.", length=2),
            number("clip_threshold", 1.0, "Largest update, root mean square."),
            number("decay_rate", -0.8, "How fast old squares are forgotten."),
            number("beta1", None, "Momentum; None is off."),
            decay(0.0),
            flag("scale_parameter", True, "Scale the rate by the weight's size."),
            flag("relative_step", True, "Choose the learning rate by step."),
            flag("warmup_init", False, "Start slowly; needs relative_step."),
        ),
    ),
    OptimizerEntry(
        "Lion",
        "one extra number a weight; wants a 3 to 10 times smaller rate than AdamW",
        "lion_pytorch:Lion",
        (
            betas(0.9, 0.99),
            decay(0.0),
            flag("use_triton", False, "Use the Triton kernel (NVIDIA)."),
            flag("decoupled_weight_decay", False, "Decay does not follow the learning rate."),
        ),
        usual_rates=LION_RATES,
        package="lion_pytorch",
    ),
    _lion_8bit("Lion8bit", "Lion with its memory in 8 bits"),
    _lion_8bit("PagedLion8bit", "the same, moving off a full graphics card"),
    OptimizerEntry(
        "Prodigy",
        "finds the learning rate itself; set learning_rate to 1",
        "prodigyopt:Prodigy",
        (
            betas(0.9, 0.999),
            number("beta3", None, "Memory of the rate's estimate."),
            eps(1e-8),
            decay(0.0),
            flag("decouple", True, "Weight decay as in AdamW."),
            flag("use_bias_correction", False, "Adam's bias correction."),
            flag("safeguard_warmup", False, "Needed with learning rate warm-up."),
            D0,
            number("d_coef", 1.0, "Multiplies the rate that is found; 0.5 to 2."),
            GROWTH,
            whole("slice_p", 1, "Estimate from every n-th weight; saves memory."),
        ),
        usual_rates=OWN_RATES,
        package="prodigyopt",
        sets_own_rate=True,
    ),
    _d_adaptation(
        "DAdaptation",
        "finds the learning rate itself; the same as DAdaptAdamPreprint",
        *_D_ADAM,
        kind="DAdaptAdamPreprint",
    ),
    _d_adaptation("DAdaptAdamPreprint", "Adam that finds the rate, as first published", *_D_ADAM),
    _d_adaptation(
        "DAdaptAdaGrad",
        "AdaGrad that finds the rate",
        momentum(0.0),
        decay(0.0),
        eps(1e-6),
        GROWTH,
    ),
    _d_adaptation(
        "DAdaptAdam",
        "Adam that finds the rate",
        *_D_ADAM,
        flag("use_bias_correction", False, "Adam's bias correction."),
    ),
    _d_adaptation("DAdaptAdan", "Adan that finds the rate", *_D_ADAN),
    _d_adaptation("DAdaptAdanIP", "the same by another estimate", *_D_ADAN),
    _d_adaptation("DAdaptLion", "Lion that finds the rate", betas(0.9, 0.99), decay(0.0)),
    _d_adaptation("DAdaptSGD", "SGD that finds the rate", momentum(0.0), decay(0.0), GROWTH),
    _schedule_free("AdamWScheduleFree", "AdamW that needs no course of the rate", *ADAM, _WARMUP),
    _schedule_free(
        "RAdamScheduleFree",
        "the same, and it needs no warm-up",
        *ADAM,
        flag("silent_sgd_phase", True, "Stands still until the squares are known."),
    ),
    _schedule_free(
        "SGDScheduleFree", "SGD that needs no course of the rate", momentum(0.9), _WARMUP
    ),
    OptimizerEntry(
        "SGDNesterov",
        "plain descent with Nesterov's momentum; wants far larger rates than AdamW",
        "torch.optim:SGD",
        (momentum(0.9), *SGD, flag("nesterov", True, "Nesterov's momentum."), MAXIMIZE, FOREACH),
        usual_rates=LARGE_RATES,
        preset=_NESTEROV,
    ),
    OptimizerEntry(
        "SGDNesterov8bit",
        "the same with its memory in 8 bits",
        "bitsandbytes.optim:SGD8bit",
        (momentum(0.9), *SGD, flag("nesterov", True, "Nesterov's momentum."), MIN_8BIT),
        usual_rates=LARGE_RATES,
        package="bitsandbytes",
        extra="8bit",
        preset=_NESTEROV,
    ),
)
