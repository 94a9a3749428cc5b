"""The download layer, for a target that opted in: each request of the account download, one after the other.

    client  startApi with a reserved client id, on a connection of its own
    client  positions, open orders, completed orders, account updates, executions, account summary
    server  to each its contents, then the message that ends them

Contents are never decoded, kept, logged or shown: message ids are counted, and the seconds to the end are measured. A
request follows SPACING seconds after our last message, and each subscription is cancelled at once. After a request
without an end, reqCurrentTime shows whether the gateway still answers; if not, the probe ends, and its result says
nothing about the download. So a gateway that freezes meanwhile has its endpoint free again within 15 seconds.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Protocol

from exporter.model import OUTCOME, Cause, Layer, LayerResult, Outcome, Report, RequestResult, Stage, Target
from exporter.probes.api_session import ApiSession
from exporter.probes.connection import Connection
from exporter.probes.context import Abandoned, ProbeContext, report_of
from exporter.probes.handshake import probe_port_and_handshake
from exporter.probes.resolver import Resolver
from exporter.probes.session import in_session
from exporter.protocol.download import DownloadRequest, answers_of, end_of, write_cancel, write_request
from exporter.protocol.error_codes import error_texts

SPACING = 1.1  # seconds; Gateway 10.45 ignores the second of two requests within one second (docs/facts.md: messages)
PATIENCE = 10.0  # seconds to the end of an answer; libraries give up after 4 to 60
DEADLINE = 30.0  # seconds for all of it: no other probe of ours goes to the gateway meanwhile
LIVENESS = 3.0  # seconds for the answer to reqCurrentTime
MOST_OF = 0.9  # of the patience: a request that the whole deadline cut shorter says nothing
NO_TIME = "its time was over before every request was sent"
FIRST_ID = 1  # of a request that carries one


class ProbeDownload(Protocol):
    """Probes the account download of a target."""

    def __call__(self, target: Target, resolver: Resolver, *, abandoned: Abandoned) -> Awaitable[Report]:
        """The report of this one layer."""


async def download(
    target: Target,
    resolver: Resolver,
    deadline: float = DEADLINE,
    *,
    patience: float = PATIENCE,
    spacing: float = SPACING,
    abandoned: Abandoned = lambda _: None,
) -> Report:
    """Probe the account download of a target once; the report has this one layer. Durations in seconds.

    `abandoned` gets the connections of a probe that is cancelled.
    """
    now = asyncio.get_running_loop().time()
    end = now + deadline
    connection = Connection(min(end, now + target.deadline))  # until the session has begun
    context = ProbeContext(target, connection, resolver, time.perf_counter)
    return await report_of(context, _probe(context, end, patience, spacing), abandoned)


async def _probe(context: ProbeContext, end: float, patience: float, spacing: float) -> tuple[LayerResult, ...]:
    handshake = await probe_port_and_handshake(context)
    if not handshake.ok:
        return (_inconclusive(handshake),)
    result = await in_session(context, lambda session: DownloadSession(context, session, end, patience, spacing).run())
    return (result if result.layer is Layer.DOWNLOAD else _inconclusive(result),)


class DownloadSession:
    """The requests within one session, until `end` (loop time)."""

    def __init__(self, context: ProbeContext, session: ApiSession, end: float, patience: float, spacing: float) -> None:
        self._end = end
        self._context = context
        self._session = session
        self._patience = patience
        self._spacing = spacing
        self._version = context.server.version if context.server else 0
        self._account = _account(context.target, session)
        self._sent_at = context.clock()  # startApi counts as a message of ours
        self._results: list[RequestResult] = []

    async def run(self) -> LayerResult:
        """Send each request and wait for its end; then say which had none."""
        began, connection = self._context.clock(), self._context.connection
        for number, request in enumerate(DownloadRequest, FIRST_ID):
            connection.prolong(self._end)
            cause = await self._pause() or await self._ask(request, number)
            if cause is not None:
                return self._result(began, cause)
            over = connection.remaining <= 0
            if self._results and self._results[-1].seconds is None:
                inconclusive = await self._check_liveness()
                if inconclusive is not None:
                    return inconclusive
            if over:
                break
        if any(result.seconds is None for result in self._results):
            return self._result(began, Cause.SILENCE)
        return self._result(began, None) if len(self._results) == len(DownloadRequest) else _unavailable(NO_TIME)

    async def _ask(self, request: DownloadRequest, number: int) -> Cause | None:
        """One request, its end, and the end of its subscription. Why the connection ended, if it did."""
        session, clock = self._session, self._context.clock
        ids, end = answers_of(request), end_of(request)
        session.others.clear()
        session.refusal = None
        began = self._sent_at = clock()
        cause = session.send(write_request(self._version, request, self._account, number))
        self._wait(self._patience)
        while cause is None and not session.others[end] and not self._refused(number):
            cause = await session.hear()
        answered, code = session.others[end] > 0, self._refused(number)
        seconds = clock() - began if answered or code else None
        messages = sum(session.others[identity] for identity in {*ids, end})
        if cause is not Cause.SILENCE or clock() - began >= MOST_OF * self._patience:
            self._results.append(RequestResult(Stage(request.label), seconds, messages, code))
        cancel = write_cancel(self._version, request, self._account, number)
        if cause in (None, Cause.SILENCE) and cancel is not None:
            self._sent_at = clock()
            cause = session.send(cancel)
        return None if cause is Cause.SILENCE else cause

    def _refused(self, number: int) -> int | None:
        """The code of an error that came for this request, or for none in particular."""
        refusal = self._session.refusal
        return refusal.code if refusal is not None and refusal.request in (number, -1, 0) else None

    async def _pause(self) -> Cause | None:
        """Wait until the next request may be sent; read on meanwhile."""
        cause: Cause | None = None
        while cause is None and (left := self._sent_at + self._spacing - self._context.clock()) > 0:
            self._wait(left)
            cause = await self._session.hear()
        return None if cause is Cause.SILENCE else cause

    async def _check_liveness(self) -> LayerResult | None:
        """None if the gateway still answers a request for the time; else a result that says nothing of the download."""
        if self._session.facts.upstream is False:
            return _unavailable("the gateway has lost IBKR's servers")
        cause = await self._pause()
        if cause is None:
            connection = self._context.connection
            connection.prolong(asyncio.get_running_loop().time() + LIVENESS)
            failure = await self._session.ask_time()
            cause = None if failure is None else failure.cause
        return None if cause is None else _unavailable("the session itself no longer answered")

    def _wait(self, seconds: float) -> None:
        self._context.connection.wait_until(asyncio.get_running_loop().time() + seconds)

    def _result(self, began: float, cause: Cause | None) -> LayerResult:
        open_ = [result.stage for result in self._results if result.seconds is None]
        refused = [f"{each.stage.value}: {error_texts([each.code])}" for each in self._results if each.code is not None]
        return LayerResult(
            layer=Layer.DOWNLOAD,
            outcome=Outcome.OK if cause is None else OUTCOME[cause],
            seconds=self._context.clock() - began,
            stage=open_[0] if open_ else None,
            cause=cause,
            detail="; ".join(refused),
            stages=tuple((each.stage, each.seconds) for each in self._results if each.seconds is not None),
            requests=tuple(self._results),
        )


def _account(target: Target, session: ApiSession) -> str:
    """The configured account if it is managed, else the first one."""
    accounts = session.facts.accounts or ()
    return target.account if target.account in accounts and target.account else next(iter(accounts), "")


def _inconclusive(result: LayerResult) -> LayerResult:
    """The download was not reached: the layer before it says why."""
    reason = result.cause.value.replace("_", " ") if result.cause else result.outcome.value
    return _unavailable(f"no session was begun for it: {reason}")


def _unavailable(reason: str) -> LayerResult:
    return LayerResult(layer=Layer.DOWNLOAD, outcome=Outcome.UNAVAILABLE, detail=reason)
