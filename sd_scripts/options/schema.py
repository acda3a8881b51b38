"""What one option is: the annotation it is declared with, and the spec everything is made from.

A field of an `Options` group is the only declaration of an option. Its type and bounds are
pydantic's, the docstring under it is its help, and one `Opt(...)` in its `Annotated` says how it
looks to a person. TOML, command line, form, documentation, error texts and file metadata are all
derived from the `OptionSpec`s that `option_specs` reads out of these fields.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Tier = Literal["basic", "advanced", "expert"]
PathKind = Literal["file", "folder", "output_folder", "file_or_folder"]
Kind = Literal[
    "bool", "int", "float", "text", "choice", "size", "steps", "numbers", "texts", "key_values"
]
"""How values of an option are read and shown: `size` is "W,H" in pixels, `steps` a whole number of
steps or a fraction under 1, `numbers` a list of numbers, `key_values` a list of "name=value"."""


@dataclass(frozen=True)
class Shape:
    """Marks a type that is read in its own way; it stands in the `Annotated` of that type."""

    kind: Kind


@dataclass(frozen=True)
class Applies:
    """When an option has an effect; empty means always.

    `families` are model families ("sd1", "sd2", "sdxl"), `methods` what learns ("networks.lora"),
    `when` pairs of another option and the values of it that bring this one to life (no values: it
    only has to be set).
    """

    families: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    when: tuple[tuple[str, tuple[object, ...]], ...] = ()


@dataclass(frozen=True)
class Opt:
    """How an option looks to a person, and what else is known of it.

    `unit` is a word for the number ("steps", "pixels"); `step` the increment of a number box;
    `path` says what a path points to; `carrier` names the name=value list that holds the option in
    a TOML file; `later` are values that sd-scripts knows and this program does not yet;
    `typical` says which values are usual, and `cost` what it costs or saves in memory and time:
    facts that go beyond the help, or nothing; `choice_help` pairs choices with what they are;
    `off_values` are values that mean the same as leaving the option empty; `old_names` are read
    and translated; `keywords` are what people type when they look for it; `records` puts the value
    into the file's metadata as `ss_<name>` (or under the name given).
    """

    label: str
    tier: Tier = "advanced"
    unit: str | None = None
    step: float | None = None
    path: PathKind | None = None
    applies: Applies = Applies()
    carrier: str | None = None
    typical: str | None = None
    cost: str | None = None
    later: tuple[str, ...] = ()
    choice_help: tuple[tuple[str, str], ...] = ()
    off_values: tuple[int | str, ...] = ()
    old_names: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    records: bool | str = False


class Options(BaseModel):
    """A group of options: frozen, unknown names forbidden; the docstring of a field is its help."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )
    title: ClassVar[str]
    """Heading of the group in form, help and documentation."""

    @model_validator(mode="before")
    @classmethod
    def _off_values_become_none(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        off = {name: opt_of(field).off_values for name, field in cls.model_fields.items()}
        return {
            name: None if not isinstance(value, bool) and value in off.get(name, ()) else value
            for name, value in values.items()
        }


@dataclass(frozen=True)
class OptionSpec:
    """Everything known of one option of one job. `choices` are texts, whatever the type."""

    name: str
    group: str
    label: str
    help: str
    tier: Tier
    kind: Kind
    type: Any
    default: Any
    required: bool
    choices: tuple[str, ...] | None
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    exclusive_maximum: bool
    unit: str | None
    step: float | None
    path: PathKind | None
    is_list: bool
    optional: bool
    applies: Applies
    carrier: str | None
    typical: str | None
    cost: str | None
    later: tuple[str, ...]
    choice_help: tuple[tuple[str, str], ...]
    off_values: tuple[int | str, ...]
    old_names: tuple[str, ...]
    keywords: tuple[str, ...]
    records: str | None


def opt_of(field: FieldInfo) -> Opt:
    """The `Opt` a field was declared with."""
    found = [item for item in field.metadata if isinstance(item, Opt)]
    assert len(found) == 1, f"every option needs exactly one Opt(...): {field!r}"
    return found[0]


def flat_types(annotation: Any) -> tuple[list[Any], list[Any]]:
    """Split an annotation into its alternative types and all metadata inside it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        kinds, deeper = flat_types(inner)
        for item in metadata:
            deeper += item.metadata if isinstance(item, FieldInfo) else [item]
        return kinds, deeper
    if origin is tuple and get_args(annotation)[1:] == (Ellipsis,):
        (element,), bounds_of_element = flat_types(get_args(annotation)[0])
        return [types.GenericAlias(tuple, (element, ...))], bounds_of_element
    if origin in (Union, types.UnionType):
        kinds, found = [], []
        for part in get_args(annotation):
            more_kinds, more_found = flat_types(part)
            kinds += more_kinds
            found += more_found
        return kinds, found
    return [annotation], []


def _kind(name: str, kinds: list[Any], metadata: list[Any]) -> Kind:
    for item in metadata:
        if isinstance(item, Shape):
            return item.kind
    assert len(kinds) == 1, f"{name}: a union needs a Shape"
    only = kinds[0]
    if get_origin(only) is Literal:
        return "choice"
    plain: dict[Any, Kind] = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "text",
        tuple[str, ...]: "texts",
        tuple[float, ...]: "numbers",
    }
    assert only in plain, f"{name}: no way to read {only!r}"
    return plain[only]


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    """Bounds among the metadata, in `OptionSpec`'s words."""
    found: dict[str, Any] = {
        "minimum": None,
        "maximum": None,
        "exclusive_minimum": False,
        "exclusive_maximum": False,
    }
    for item in metadata:
        match item:
            case annotated_types.Ge(ge=bound):
                found["minimum"] = bound
            case annotated_types.Gt(gt=bound):
                found |= {"minimum": bound, "exclusive_minimum": True}
            case annotated_types.Le(le=bound):
                found["maximum"] = bound
            case annotated_types.Lt(lt=bound):
                found |= {"maximum": bound, "exclusive_maximum": True}
    return found


def _spec(group: str, name: str, field: FieldInfo) -> OptionSpec:
    opt = opt_of(field)
    kinds, metadata = flat_types(field.annotation)
    metadata = metadata + list(field.metadata)
    optional = type(None) in kinds
    kinds = [kind for kind in kinds if kind is not type(None)]
    kind = _kind(name, kinds, metadata)
    assert field.description, f"{name} needs a docstring: it is its help"
    assert optional or not opt.off_values, f"{name}: a value that means empty needs `| None`"
    records = f"ss_{name}" if opt.records is True else opt.records or None
    return OptionSpec(
        name=name,
        group=group,
        label=opt.label,
        help=" ".join(field.description.split()),
        tier=opt.tier,
        kind=kind,
        type=field.annotation,
        default=None if field.default is PydanticUndefined else field.default,
        required=field.is_required(),
        choices=tuple(str(value) for value in get_args(kinds[0])) if kind == "choice" else None,
        **_bounds(metadata),
        unit=opt.unit,
        step=opt.step,
        path=opt.path,
        is_list=kind in ("texts", "numbers", "key_values"),
        optional=optional,
        applies=opt.applies,
        carrier=opt.carrier,
        typical=opt.typical,
        cost=opt.cost,
        later=opt.later,
        choice_help=opt.choice_help,
        off_values=opt.off_values,
        old_names=opt.old_names,
        keywords=opt.keywords,
        records=records,
    )


GROUP_ORDER: Final = (
    "model",
    "data",
    "caption",
    "network",
    "full",
    "embedding",
    "training",
)
"""The groups that come first in forms, files and documents; others follow as they are declared."""


def _place(field: tuple[str, object]) -> int:
    return GROUP_ORDER.index(field[0]) if field[0] in GROUP_ORDER else len(GROUP_ORDER)


def group_types(job_type: type[BaseModel]) -> dict[str, type[Options]]:
    """The groups of a job: attribute name → group type, in the order of `GROUP_ORDER`."""
    groups: dict[str, type[Options]] = {}
    for name, field in sorted(job_type.model_fields.items(), key=_place):
        group = field.annotation
        assert isinstance(group, type), name
        assert issubclass(group, Options), name
        groups[name] = group
    return groups


def _specs(job_type: type[BaseModel]) -> Iterator[OptionSpec]:
    seen: dict[str, str] = {}
    for group_name, group in group_types(job_type).items():
        for name, field in group.model_fields.items():
            assert name not in seen, f"{name} is in two groups: {seen.get(name)}, {group_name}"
            seen[name] = group_name
            yield _spec(group_name, name, field)


@cache
def option_specs(job_type: type[BaseModel]) -> tuple[OptionSpec, ...]:
    """Every option of a job, in the order of its groups and fields."""
    return tuple(_specs(job_type))


@cache
def specs_by_name(job_type: type[BaseModel]) -> dict[str, OptionSpec]:
    """The same as `option_specs`, by name. Not to be changed by the caller."""
    return {spec.name: spec for spec in option_specs(job_type)}


def group_titles(job_type: type[BaseModel]) -> dict[str, str]:
    """Heading of each group of a job, in order."""
    return {name: group.title for name, group in group_types(job_type).items()}
