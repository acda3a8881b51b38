"""What was wrong with a run, and what the next one does otherwise: little, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kohya_gui.guided.project import Project

Fault = Literal["weak", "burnt", "pose", "leaks"]
FAULTS: Final[tuple[Fault, ...]] = ("weak", "burnt", "pose", "leaks")

LONGER: Final = 1.5
SHORTER: Final = 0.75
LONGEST: Final = 3.0
_LOWEST_RATE: Final = 1e-6


@dataclass(frozen=True)
class Adjustment:
    """What the next run does otherwise: option values, and the factor on its length.

    `reasons` are keys of texts. `words` tells that the captions are to be looked at again.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    length: float = 1.0
    reasons: tuple[str, ...] = ()
    words: bool = False


def adjust(fault: Fault, values: Mapping[str, Any], project: Project) -> Adjustment:
    """Return what to change about a job (`values`, as it ran) that came out with a fault."""
    match fault:
        case "weak":
            return _stronger(values, project)
        case "burnt":
            rate = {"learning_rate": _times(values, "learning_rate", 0.5)}
            rate |= _text_rate(values, 0.5)
            return Adjustment(rate, project.length * SHORTER, ("rate_down", "shorter"))
        case "pose":
            return _freer(values, project)
        case "leaks":
            return _narrower(values, project)


def _stronger(values: Mapping[str, Any], project: Project) -> Adjustment:
    """Longer first, since that harms least; once it was long, a higher rate."""
    if project.length * LONGER <= LONGEST:
        return Adjustment({}, project.length * LONGER, ("longer",))
    rate = {"learning_rate": _times(values, "learning_rate", 1.5)} | _text_rate(values, 1.5)
    return Adjustment(rate, project.length, ("rate_up",))


def _freer(values: Mapping[str, Any], project: Project) -> Adjustment:
    """Less room for single pictures; what the captions name stays changeable."""
    smaller = {
        name: max(1, int(values[name]) // 2)
        for name in ("network_dim", "network_alpha", "conv_dim", "conv_alpha")
        if values.get(name)
    }
    return Adjustment(smaller, project.length, ("rank_down", "captions"), words=True)


def _narrower(values: Mapping[str, Any], project: Project) -> Adjustment:
    """Leave the text encoder alone and learn more gently: other words then keep their meaning."""
    changes: dict[str, Any] = {"learning_rate": _times(values, "learning_rate", 0.7)}
    reasons = ["rate_gentle"]
    if not values.get("network_train_unet_only"):
        changes |= {"network_train_unet_only": True, "text_encoder_lr": None}
        reasons.insert(0, "unet_only")
    if values.get("caption_dropout_rate"):
        changes["caption_dropout_rate"] = 0.0
        reasons.append("no_dropout")
    return Adjustment(changes, project.length, tuple(reasons))


def _times(values: Mapping[str, Any], name: str, factor: float) -> float:
    return float(f"{max(_LOWEST_RATE, float(values[name]) * factor):.2g}")


def _text_rate(values: Mapping[str, Any], factor: float) -> dict[str, Any]:
    rates = values.get("text_encoder_lr")
    if not rates:
        return {}
    return {"text_encoder_lr": [float(f"{float(rate) * factor:.2g}") for rate in rates]}
