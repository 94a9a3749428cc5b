"""Reports as they are kept beside the last one: packed, because hardly any of them is read again.

A report is 1.4 KB of objects. Pickled, and compressed with typical reports as the dictionary, it is 0.25 KB, which
takes 60 microseconds each way.
"""

import pickle  # of our own values, within this process
import zlib
from dataclasses import dataclass
from functools import cache

from exporter.model import (
    Cause,
    Farm,
    FarmKind,
    Layer,
    LayerResult,
    Outcome,
    Report,
    ServerHello,
    SessionFacts,
    Stage,
    Stamp,
    Verdict,
)
from exporter.model.copies import replace

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
        report: Report = pickle.loads(unpacking.decompress(self.packed))  # noqa: S301 - `kept` has packed it
        return report


def kept(report: Report, verdict: Verdict) -> Judged:
    """A report with its verdict as it is kept beside the last one: without a long list of accounts."""
    packing = zlib.compressobj(1, wbits=RAW, memLevel=5, zdict=_typical())
    return Judged(packing.compress(pickle.dumps(_brief(report), 5)) + packing.flush(), verdict)


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
        pickle.dumps(Report(target="", at=0.0, seconds=0.0, results=results, connections=1), 5)
        for results in ((refused, skipped), (port, silent, skipped), (port, handshake, session))
    )
