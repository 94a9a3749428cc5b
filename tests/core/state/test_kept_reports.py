"""Packed reports: whatever a report can hold can be kept."""

from dataclasses import is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

from exporter.model import Report
from exporter.state.kept_reports import DATACLASSES, ENUMS, _plain, _rebuilt


def classes_within(hint: Any) -> set[type]:
    """The dataclasses and enums that a value of this type can hold, itself included."""
    if get_args(hint):
        return set().union(*(classes_within(each) for each in get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {hint}
    if isinstance(hint, type) and is_dataclass(hint):
        return {hint}.union(*(classes_within(each) for each in get_type_hints(hint).values()))
    return set()


def test_every_class_that_a_report_can_hold_has_a_number() -> None:
    assert classes_within(Report) == {*DATACLASSES, *ENUMS}


def test_every_member_of_every_enum_comes_back_as_itself() -> None:
    """Not as a member of another enum that has the same text, such as `closed`."""
    for enum in ENUMS:
        for member in enum:
            assert _rebuilt(_plain(member)) is member
