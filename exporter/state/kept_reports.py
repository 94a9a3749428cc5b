"""Reports as they are kept beside the last one: packed, because hardly any of them is read again.

A report with a session is 1.4 KB of objects, and 0.8 KB as plain values that are marshalled; one without is 0.3 KB.
`pickle` takes five times as long, because it looks up fields and members of enums by name.
"""

import marshal  # of our own values, within this process
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from exporter.model import (
    Cause,
    Direction,
    Doubt,
    Exchanged,
    Fall,
    Farm,
    FarmKind,
    Hello,
    InstalledVersion,
    Layer,
    LayerResult,
    Outcome,
    Report,
    RequestResult,
    ServerHello,
    SessionFacts,
    Stage,
    Stamp,
    Verdict,
)
from exporter.model.copies import made_of, replace, values_of

KEPT_ACCOUNTS = 100  # of one report; an adviser has thousands, and only the last report names them all


@dataclass(frozen=True, slots=True)
class Judged:
    """A report with its verdict; the report is packed, and out of the repr, because it holds account numbers."""

    packed: bytes = field(repr=False)
    verdict: Verdict

    @property
    def report(self) -> Report:
        """A report equal to the one that was packed; it is unpacked at each access."""
        report: Report = _rebuilt(marshal.loads(self.packed))  # noqa: S302 - `kept` has packed it
        return report


def kept(report: Report, verdict: Verdict) -> Judged:
    """A report with its verdict as it is kept beside the last one: without a long list of accounts."""
    return Judged(marshal.dumps(_plain(_brief(report))), verdict)


def _plain(value: object) -> Any:
    """A value of a report by types that `marshal` knows.

    A dataclass is a list: its number and its fields. A member of an enum is two bytes: the numbers of enum and member.
    """
    return value if type(value) in _KNOWN else _PLAIN[type(value)](value)


def _plain_fields(number: int, value: object) -> list[object]:
    # Most fields are None or empty, which is as plain as can be.
    values = values_of(value)
    return [
        number,
        *[each if not each or type(each) in _KNOWN else _PLAIN[type(each)](each) for each in values],
    ]


def _rebuilt(value: Any) -> Any:
    """The value that `_plain` has made this of."""
    if type(value) is list:
        of_class, *contents = value
        return made_of(DATACLASSES[of_class], map(_rebuilt, contents))
    if type(value) is bytes:
        return _MEMBERS[value]
    return tuple(map(_rebuilt, value)) if type(value) is tuple else value


# Every class that a report is made of.
DATACLASSES = (
    Report,
    LayerResult,
    ServerHello,
    SessionFacts,
    Farm,
    InstalledVersion,
    Exchanged,
    RequestResult,
    Fall,
    Hello,
)
ENUMS = (Cause, Direction, Doubt, FarmKind, Layer, Outcome, Stage, Stamp)
# By enum: members of two enums may have the same text, and would be the same key.
_NUMBERS: dict[type[Enum], dict[Enum, bytes]] = {
    enum: {member: bytes((number, place)) for place, member in enumerate(enum)} for number, enum in enumerate(ENUMS)
}
_MEMBERS = {number: member for numbers in _NUMBERS.values() for member, number in numbers.items()}
_KNOWN = frozenset({type(None), bool, int, float, str})  # to marshal
_PLAIN: dict[type, Callable[[Any], object]] = {
    tuple: lambda values: tuple([_plain(each) for each in values]),
    **{enum: numbers.__getitem__ for enum, numbers in _NUMBERS.items()},
    **{of_class: partial(_plain_fields, number) for number, of_class in enumerate(DATACLASSES)},
}


def _brief(report: Report) -> Report:
    session = report.layer(Layer.SESSION)
    facts = None if session is None else session.session
    if session is None or facts is None or len(facts.accounts or ()) <= KEPT_ACCOUNTS:
        return report
    brief = replace(session, session=replace(facts, accounts=None))
    return replace(report, results=tuple(brief if result is session else result for result in report.results))
