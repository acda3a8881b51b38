"""What can be taught: for each goal its presets, its length, its words and its preview prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

GoalName = Literal["person", "character", "style", "object", "clothing"]
Card = Literal["quick", "good", "best"]

CARDS: Final[Mapping[Card, float]] = {"quick": 0.4, "good": 1.0, "best": 1.5}
"""How long each card teaches, as a share of the goal's own length. 40 % shows whether pictures and
words are right; half as long again is the end of what usually still helps."""
STAGES: Final = 5
"""So many results are saved along the way, each with its preview pictures: the best one is seldom
the last."""


@dataclass(frozen=True)
class Goal:
    """One thing to teach.

    `looks` is how often each picture is looked at; all looks together are kept between `floor`
    (fewer teach nothing, however few pictures there are) and `cap` (more of the same subject only
    burn it in). `presets` are names of files in `presets/lora`, by family. `words` is what to call
    one of its kind when nothing else is said. `prompts` are painted along the way, with {word}
    for the new word and its kind; `without` has the kind alone, to show what leaks into it.
    `engine` says which captions suit it.
    """

    name: GoalName
    looks: int
    floor: int
    cap: int
    presets: Mapping[str, str]
    words: str
    prompts: tuple[str, ...]
    without: str
    engine: Literal["tags", "sentences"] = "sentences"


def _presets(first: str, sdxl: str) -> dict[str, str]:
    return {"sd1": first, "sd2": first, "sdxl": sdxl}


GOALS: Final[Mapping[str, Goal]] = {
    goal.name: goal
    for goal in (
        Goal(
            "person",
            looks=100,
            floor=800,
            cap=4000,
            presets=_presets("11-person-sd15", "21-person-sdxl"),
            words="person",
            prompts=(
                "a photo of {word}, face, looking at the camera",
                "a photo of {word} riding a bicycle in a park",
            ),
            without="a photo of a {kind}, face, looking at the camera",
        ),
        Goal(
            "character",
            looks=100,
            floor=800,
            cap=4000,
            presets=_presets("12-character-sd15", "32-illustrious-character"),
            words="character",
            prompts=(
                "{word}, standing, full body, white background",
                "{word}, sitting in a cafe, smiling, upper body",
            ),
            without="{kind}, standing, full body, white background",
            engine="tags",
        ),
        Goal(
            "style",
            looks=50,
            floor=1500,
            cap=10_000,
            presets=_presets("13-style-sd15", "22-style-sdxl"),
            words="style",
            prompts=("{word}, a woman at a window", "{word}, a village by the sea"),
            without="a village by the sea",
        ),
        Goal(
            "object",
            looks=100,
            floor=600,
            cap=3000,
            presets=_presets("14-object-sd15", "23-object-sdxl"),
            words="object",
            prompts=("a photo of {word} on a table", "a photo of {word} on a beach"),
            without="a photo of a {kind} on a table",
        ),
        Goal(
            "clothing",
            looks=100,
            floor=600,
            cap=3000,
            presets=_presets("14-object-sd15", "23-object-sdxl"),
            words="clothes",
            prompts=(
                "a photo of a woman wearing {word}, full body",
                "a photo of a man wearing {word} in a street",
            ),
            without="a photo of a woman wearing {kind}, full body",
        ),
    )
}
"""All goals, in the order of their cards. Why so many looks and this much room is argued in the
presets that they name; a style has more pictures, so each is looked at less often."""

V_PREDICTION_PRESETS: Final = {"character": "33-noobai-v-prediction"}
"""Presets for SDXL models that predict velocity."""


def preset_of(goal: Goal, family: str, prediction_type: str | None) -> str:
    """Return the name of the preset for a goal and a kind of model."""
    if family == "sdxl" and prediction_type == "v_prediction":
        return V_PREDICTION_PRESETS.get(goal.name, goal.presets[family])
    return goal.presets[family]
