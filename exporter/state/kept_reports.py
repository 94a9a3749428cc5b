"""Reports as they are kept beside the last one: packed, because hardly any of them is read again.

A report is 1.4 KB of objects. As plain values, marshalled and compressed with typical reports as the dictionary, it is
0.25 KB. `pickle` would do as well, and takes three times as long for each report: it looks up fields and enums by name.
"""

import marshal  # of our own values, within this process
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
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
RAW = -15  # of zlib: no header, no checksum
FARMS = ("usfarm.nj", "cashfarm", "usopt", "usfuture", "eufarm", "eufarmnj", "jfarm", "hfarm", "usfarm")


@dataclass(frozen=True, slots=True)
class Judged:
    """A report with its verdict; the report is packed."""

    packed: bytes
    verdict: Verdict

    @property
    def report(self) -> Report:
        """A report equal to the one that was packed; it is unpacked at each access."""
        unpacking = zlib.decompressobj(RAW, zdict=_typical())
        report: Report = _rebuilt(marshal.loads(unpacking.decompress(self.packed)))  # noqa: S302 - `kept` has packed it
        return report


def kept(report: Report, verdict: Verdict) -> Judged:
    """A report with its verdict as it is kept beside the last one: without a long list of accounts."""
    packing = zlib.compressobj(1, wbits=RAW, memLevel=5, zdict=_typical())
    return Judged(packing.compress(marshal.dumps(_plain(_brief(report)))) + packing.flush(), verdict)


def _plain(value: object) -> Any:
    """A value of a report by types that `marshal` knows.

    A dataclass is a list: its number and its fields. A member of an enum is two bytes: the numbers of enum and member.
    """
    plain = _PLAIN.get(type(value))
    return value if plain is None else plain(value)


def _plain_fields(number: int, value: object) -> list[object]:
    plain = _PLAIN.get
    return [number, *[each if (of := plain(type(each))) is None else of(each) for each in values_of(value)]]


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
_NUMBERS: dict[object, bytes] = {
    member: bytes((number, place)) for number, enum in enumerate(ENUMS) for place, member in enumerate(enum)
}
_MEMBERS = {number: member for member, number in _NUMBERS.items()}
_PLAIN: dict[type, Callable[[Any], object]] = {
    tuple: lambda values: tuple([_plain(each) for each in values]),
    **dict.fromkeys(ENUMS, _NUMBERS.__getitem__),
    **{of_class: partial(_plain_fields, number) for number, of_class in enumerate(DATACLASSES)},
}


def _brief(report: Report) -> Report:
    session = report.layer(Layer.SESSION)
    facts = None if session is None else session.session
    if session is None or facts is None or len(facts.accounts or ()) <= KEPT_ACCOUNTS:
        return report
    brief = replace(session, session=replace(facts, accounts=None))
    return replace(report, results=tuple(brief if result is session else result for result in report.results))


@cache
def _typical() -> bytes:
    """What most reports are made of: one that failed, then a healthy one, since the end of a dictionary costs least."""
    port = LayerResult(
        layer=Layer.PORT,
        outcome=Outcome.OK,
        seconds=0.0,
        stages=((Stage.RESOLVE, 0.0), (Stage.CONNECT, 0.0)),
        stamp=Stamp.KERNEL,
    )
    silent = LayerResult.failed(Layer.HANDSHAKE, Cause.SILENCE, 5.0, Stage.REPLY)
    skipped = LayerResult(layer=Layer.SESSION, outcome=Outcome.SKIPPED)
    refused = LayerResult.failed(Layer.PORT, Cause.CONNECT_REFUSED, 0.0, Stage.CONNECT)
    handshake = LayerResult(
        layer=Layer.HANDSHAKE,
        outcome=Outcome.OK,
        seconds=0.0,
        stages=((Stage.REPLY, 0.0),),
        stamp=Stamp.KERNEL,
        server=ServerHello(226, "20261121 02:00:00 EST"),
    )
    stages = (Stage.START_API, Stage.NEXT_VALID_ID, Stage.MANAGED_ACCOUNTS, Stage.CURRENT_TIME)
    farms = (
        *(Farm(FarmKind.MARKET, name, connected=True) for name in FARMS),
        *(Farm(FarmKind.HISTORICAL, name, connected=True) for name in ("euhmds", "fundfarm", "ushmds")),
        *(Farm(FarmKind.DEFINITIONS, name, connected=True) for name in ("secdefeu", "secdefnj")),
    )
    session = LayerResult(
        layer=Layer.SESSION,
        outcome=Outcome.OK,
        seconds=0.0,
        stages=tuple((stage, 0.0) for stage in stages),
        stamp=Stamp.KERNEL,
        session=SessionFacts(
            client_id=9001,
            accounts=("DU1234567",),
            next_valid_id=1,
            clock_offset=0.0,
            farms=farms,
            errors=(2104, 2106, 2158),
        ),
    )
    return b"".join(
        marshal.dumps(_plain(Report(target="", at=0.0, seconds=0.0, results=results, connections=1)))
        for results in ((refused, skipped), (port, silent, skipped), (port, handshake, session))
    )
