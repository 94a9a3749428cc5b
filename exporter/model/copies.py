"""Copies of frozen values with some fields changed, and values made of their fields: for the path of every probe.

`dataclasses.replace` looks up every field at each call and calls `__init__` by keywords: 8 to 12 microseconds for a
target's state. Here each class's slots are looked up once and set one by one, in half of that (docs/adr/0019). For
dataclasses with slots and without `__post_init__`.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

Value = TypeVar("Value")


class _Layout(NamedTuple):
    """What reads all fields of a class at once, what sets each, and the place of each."""

    values: Callable[[Any], tuple[object, ...]]
    setters: tuple[Callable[[object, object], None], ...]
    places: dict[str, int]


@cache
def _layout(of_class: Any) -> _Layout:
    names = [field.name for field in fields(of_class)]
    values = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return _Layout(
        values, tuple(getattr(of_class, name).__set__ for name in names), {n: i for i, n in enumerate(names)}
    )


def values_of(value: Any) -> tuple[object, ...]:
    """The values of all fields, in their order."""
    return _layout(value.__class__).values(value)


def made_of(of_class: Any, values: Iterable[object]) -> Any:
    """The value of a class that has these values of all fields."""
    made = object.__new__(of_class)
    for set_field, value in zip(_layout(of_class).setters, values, strict=True):
        set_field(made, value)
    return made


if TYPE_CHECKING:
    from dataclasses import replace as replace  # noqa: PLC0414 - so that mypy checks the names and types of the changes
else:

    def replace(value: Value, /, **changes: object) -> Value:
        """The value with these fields changed. Raises TypeError for a field that it has not."""
        of_class = type(value)
        values, setters, places = _layout(of_class)
        contents = list(values(value))
        for name, changed in changes.items():
            if name not in places:
                msg = f"{of_class.__name__} has no field {name!r}"
                raise TypeError(msg)
            contents[places[name]] = changed
        copied = object.__new__(of_class)
        for set_field, content in zip(setters, contents, strict=True):
            set_field(copied, content)
        return copied
