"""The form of a job: every option's component, collected and filled by one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kohya_gui.forms.widgets import Widget, default_shown, is_tick, make_widget, shown_value
from kohya_gui.locales import Texts
from kohya_gui.quick_gradio import gr
from sd_scripts.options.jobs import Job
from sd_scripts.options.schema import OptionSpec, specs_by_name

Raw = dict[str, object]
"""What the widgets hold, by option: text, or a tick."""


class JobForm:
    """The components of one page's form. Made while the page is built; holds no values itself."""

    def __init__(self, job_type: type[Job], text: Texts) -> None:
        self.job_type = job_type
        self.specs = specs_by_name(job_type)
        self._text = text
        self._widgets: dict[str, Widget] = {}
        self._later: list[str] = []

    def place(self, name: str, *, later: bool = False) -> Widget:
        """Put the component of an option here; every option is placed exactly once.

        `later`: the browser draws it once the page can be used.
        """
        assert name not in self._widgets, f"{name} has a component already"
        self._widgets[name] = make_widget(self.specs[name], self._text, later=later)
        if later:
            self._later.append(name)
        return self._widgets[name]

    @property
    def later(self) -> dict[str, Widget]:
        """The options that are drawn once the page can be used, and their components."""
        return {name: self._widgets[name] for name in self._later}

    @property
    def names(self) -> tuple[str, ...]:
        """Options in the order of `components`."""
        return tuple(self._widgets)

    @property
    def components(self) -> list[Widget]:
        """All components, as inputs and outputs of events."""
        return list(self._widgets.values())

    def collect(self, arguments: Sequence[object]) -> Raw:
        """Name the arguments that an event handed over for `components`."""
        assert len(arguments) == len(self._widgets), "one argument for each component"
        return dict(zip(self._widgets, arguments, strict=True))

    def fill(self, wanted: Mapping[str, object], present: Mapping[str, object]) -> list[Any]:
        """Return updates that bring the components from `present` to `wanted`.

        What already stands there is not sent again.
        """
        return [
            gr.skip() if wanted[name] == present.get(name) else gr.update(value=wanted[name])
            for name in self._widgets
        ]


def default_raw(job_type: type[Job]) -> Raw:
    """Return a form that nobody has touched."""
    return {name: default_shown(spec) for name, spec in specs_by_name(job_type).items()}


def raw_of_values(job_type: type[Job], values: Mapping[str, object]) -> Raw:
    """Return the whole form for some values of a job; what is not given is at its default."""
    raw = default_raw(job_type)
    for name, value in values.items():
        spec = specs_by_name(job_type).get(name)
        if spec is not None and value is not None:
            raw[name] = _fitting(spec, value)
    return raw


def _fitting(spec: OptionSpec, value: object) -> object:
    """Return a value as the widget can hold it, even one that is wrong: its error is then shown."""
    if is_tick(spec):
        return value if isinstance(value, bool) else bool(spec.default)
    shown = shown_value(spec, tuple(value) if isinstance(value, list) else value)
    return shown if isinstance(shown, str) else str(shown)


def changed_names(job_type: type[Job], raw: Mapping[str, object]) -> tuple[str, ...]:
    """Return the options whose widget does not hold its default."""
    default = default_raw(job_type)
    return tuple(name for name, value in raw.items() if not _same(value, default.get(name)))


def only_changed(job_type: type[Job], raw: Mapping[str, object]) -> Raw:
    """Return the part of a form that differs from one nobody has touched."""
    return {name: raw[name] for name in changed_names(job_type, raw)}


def _same(value: object, default: object) -> bool:
    empty = (None, "")
    return value == default or (value in empty and default in empty)
