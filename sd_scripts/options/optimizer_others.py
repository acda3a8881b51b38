"""Optimizers that sd-scripts takes by the name of a class; here they are a list, too."""

from __future__ import annotations

from typing import Final

from sd_scripts.options.optimizer_entries import (
    ADAM,
    AMSGRAD,
    D0,
    DECOUPLED,
    FOREACH,
    FUSED,
    LARGE_RATES,
    LION_RATES,
    MAXIMIZE,
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


def _ademamix_8bit(name: str, text: str) -> OptimizerEntry:
    return from_bitsandbytes(
        f"bitsandbytes.optim.{name}",
        text,
        betas(0.9, 0.999, 0.9999),
        number("alpha", 5.0, "Weight of the slow average."),
        Argument("t_alpha", "int", None, "Steps over which alpha rises.", optional=True),
        Argument("t_beta3", "int", None, "Steps over which the third beta rises.", optional=True),
        eps(1e-8),
        decay(0.01),
    )


def _pytorch_optimizer(name: str, text: str, *arguments: Argument) -> OptimizerEntry:
    return OptimizerEntry(
        f"pytorch_optimizer.{name}",
        text,
        f"pytorch_optimizer:{name}",
        (*arguments, MAXIMIZE),
        usual_rates=LION_RATES if name == "Tiger" else (1e-5, 1e-2),
        package="pytorch_optimizer",
        extra="optimizers",
    )


def _decouple(default: bool) -> Argument:
    return flag("weight_decouple", default, "Weight decay as in AdamW.")


def _torch(name: str, text: str, *arguments: Argument, large: bool = False) -> OptimizerEntry:
    shared = (MAXIMIZE, FOREACH)
    rates = LARGE_RATES if large else (1e-5, 1e-2)
    return OptimizerEntry(name, text, f"torch.optim:{name}", (*arguments, *shared), rates)


OTHERS: Final = (
    OptimizerEntry(
        "prodigyplus.ProdigyPlusScheduleFree",
        "Prodigy with less memory, a rate for each part, and without a course of the rate",
        "prodigyplus:ProdigyPlusScheduleFree",
        (
            betas(0.9, 0.99),
            number("beta3", None, "Memory of the rate's estimate."),
            decay(0.0),
            flag("weight_decay_by_lr", True, "Weight decay follows the rate."),
            D0,
            number("d_coef", 1.0, "Multiplies the rate that is found; 0.5 to 2."),
            flag("d_limiter", True, "Keeps the estimate from growing too fast."),
            whole("prodigy_steps", 0, "Stops estimating after so many steps; 0: never."),
            number("schedulefree_c", 0, "Averages over fewer steps; 0: over all."),
            eps(1e-8),
            flag("split_groups", True, "A rate for each part."),
            flag("split_groups_mean", False, "The mean of these rates for all parts."),
            flag("factored", True, "Keeps squares by row and column; saves memory."),
            flag("factored_fp32", True, "Keeps these in 32 bits."),
            flag("use_bias_correction", False, "Adam's bias correction."),
            flag("use_stableadamw", True, "Limits each update."),
            flag("use_speed", False, "Another way to estimate the rate."),
            flag("stochastic_rounding", True, "Rounds weights in 16 bits by chance."),
            flag("use_cautious", False, "Moves only where the gradient agrees."),
            flag("use_grams", False, "Takes the direction from the gradient."),
            flag("use_adopt", False, "The ADOPT variant."),
            flag("use_orthograd", False, "Moves at right angles to the weights."),
            flag("use_focus", False, "The FOCUS variant."),
        ),
        usual_rates=OWN_RATES,
        package="prodigyplus",
        extra="optimizers",
        sets_own_rate=True,
        rates_may_differ=True,
        schedule_free=True,
    ),
    _ademamix_8bit("AdEMAMix", "AdamW with a second, slow average"),
    _ademamix_8bit("AdEMAMix8bit", "the same with its memory in 8 bits"),
    _ademamix_8bit("PagedAdEMAMix8bit", "the same, moving off a full graphics card"),
    _pytorch_optimizer(
        "CAME",
        "as good as AdamW with the memory of Adafactor",
        betas(0.9, 0.999, 0.9999),
        decay(0.0),
        _decouple(True),
        flag("fixed_decay", False, "Decay does not follow the learning rate."),
        number("clip_threshold", 1.0, "Largest update, root mean square."),
        flag("ams_bound", False, "Use the AMSBound variant."),
        number("eps1", 1e-30, "Small number that keeps divisions stable."),
        number("eps2", 1e-16, "The same for the confidence."),
    ),
    _pytorch_optimizer(
        "Adan",
        "AdamW with a look ahead; three extra numbers a weight",
        betas(0.98, 0.92, 0.99),
        decay(0.0),
        _decouple(False),
        number("max_grad_norm", 0.0, "Largest gradient; 0 is off."),
        eps(1e-8),
    ),
    _pytorch_optimizer(
        "StableAdamW",
        "AdamW that limits each update, and is exact in 16 bits",
        betas(0.9, 0.99),
        flag("kahan_sum", True, "Carries what rounding to 16 bits lost."),
        decay(0.01),
        _decouple(True),
        eps(1e-8),
    ),
    _pytorch_optimizer(
        "SOAP",
        "learns more in each step, which takes longer",
        betas(0.95, 0.95),
        number("shampoo_beta", None, "Memory of the directions."),
        decay(0.01),
        whole("precondition_frequency", 10, "Steps from one look at the directions to the next."),
        whole("max_precondition_dim", 10000, "Longer sides are left as they are."),
        flag("merge_dims", False, "Sees a convolution as a matrix."),
        flag("precondition_1d", False, "Also for vectors."),
        flag("correct_bias", True, "Adam's bias correction."),
        flag("normalize_gradient", False, "Brings each update to one length."),
        eps(1e-8),
    ),
    _pytorch_optimizer(
        "Tiger",
        "one extra number a weight, as Lion",
        number("beta", 0.965, "How long past gradients are remembered."),
        decay(0.01),
        _decouple(True),
        flag("fixed_decay", False, "Decay does not follow the learning rate."),
    ),
    _torch("Adam", "as AdamW, with another kind of decay", *ADAM, decay(0.0), AMSGRAD, FUSED),
    _torch(
        "NAdam",
        "Adam with Nesterov's momentum",
        *ADAM,
        decay(0.0),
        number("momentum_decay", 0.004, "How the momentum grows."),
        DECOUPLED,
    ),
    _torch("RAdam", "Adam that needs no warm-up", *ADAM, decay(0.0), DECOUPLED),
    _torch("Adamax", "Adam by the largest gradient", *ADAM, decay(0.0)),
    _torch(
        "Adagrad",
        "the rate falls where much was learned",
        number("lr_decay", 0.0, "How fast the rate falls."),
        decay(0.0),
        number("initial_accumulator_value", 0.0, "First sum of squares."),
        eps(1e-10),
        large=True,
    ),
    _torch(
        "Adadelta",
        "the rate follows the last updates",
        number("rho", 0.9, "How long past gradients are remembered."),
        eps(1e-6),
        decay(0.0),
        large=True,
    ),
    _torch(
        "RMSprop",
        "the rate follows the last gradients",
        number("alpha", 0.99, "How long past gradients are remembered."),
        eps(1e-8),
        decay(0.0),
        momentum(0.0),
        flag("centered", False, "Divides by the variance."),
    ),
    _torch(
        "SGD",
        "plain descent; wants far larger rates than AdamW",
        momentum(0.0),
        *SGD,
        flag("nesterov", False, "Nesterov's momentum."),
        large=True,
    ),
    _torch(
        "ASGD",
        "plain descent that averages",
        number("lambd", 1e-4, "How fast the rate falls."),
        number("alpha", 0.75, "Power of that fall."),
        number("t0", 1e6, "Step at which averaging begins."),
        decay(0.0),
        large=True,
    ),
    _torch(
        "Rprop",
        "goes by the sign of the gradient alone; for large batches",
        Argument("etas", "floats", (0.5, 1.2), "How a step shrinks and grows.", length=2),
        Argument("step_sizes", "floats", (1e-6, 50.0), "Smallest and largest step.", length=2),
    ),
)
