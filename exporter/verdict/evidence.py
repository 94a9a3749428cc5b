"""One line of evidence for each result: what we sent and what came back.

Evidence goes into logs, pages and alerts, so account numbers are masked, except the configured one.
"""

from collections.abc import Callable
from itertools import groupby

from exporter.model import (
    Cause,
    Direction,
    Doubt,
    FarmKind,
    InstalledVersion,
    Layer,
    LayerResult,
    Outcome,
    SessionFacts,
    Stage,
    Stamp,
    Target,
)
from exporter.protocol.error_codes import LOST, error_texts
from exporter.protocol.releases import release_of
from exporter.text import duration, joined

CLOCK_TOLERANCE = 2.0  # seconds, and half of what the answer took; the gateway sends whole ones
MASKABLE = 7  # characters; IBKR's account numbers have seven to nine
MOST_ACCOUNTS = 8  # in one line
MOST_FARMS = 8
FARMS = {
    FarmKind.MARKET: "market data",
    FarmKind.HISTORICAL: "historical data",
    FarmKind.DEFINITIONS: "security definition",
}


def sentence(result: LayerResult, target: Target) -> str:
    """Return one result as a line of evidence."""
    took = "" if result.seconds is None else f" after {duration(result.seconds)}"
    if result.client is not None:
        text = _client(result)
    elif result.outcome is Outcome.OK:
        text = SUCCESSES[result.layer](result, target)
    else:
        if result.layer is Layer.DOWNLOAD:
            return _not_downloaded(result)
        cause = result.cause.value if result.cause else result.outcome.value
        stage = result.stage or Stage.START_API
        text = FAILURES.get((result.layer, result.cause), f"{result.layer.value} failed: {cause}").format(
            endpoint=target.endpoint,
            host=target.host,
            offer=f"v{target.hello.minimum}..{target.hello.maximum}",
            took=took,
            request=REQUESTS.get(stage, "startApi"),
            missing=NO_ACCOUNT if no_account(result) else MISSING.get(stage, "no answer came"),
        )
    return text + (f" ({detail(result)})" if detail(result) else "")


def time_taken(result: LayerResult | None) -> str:
    """Return the duration of a result; empty where nothing was measured."""
    return "" if result is None or result.seconds is None else duration(result.seconds)


def stage_times(result: LayerResult) -> str:
    """Return the stages of a result with their durations."""
    return ", ".join(f"{stage.value} {duration(seconds)}" for stage, seconds in result.stages)


def detail(result: LayerResult) -> str:
    """Return a result's detail, and why a client's failure does not count where it does not."""
    return joined(result.detail, DOUBTS[result.doubt] if result.doubt else "")


def _not_downloaded(result: LayerResult) -> str:
    if result.outcome is Outcome.UNAVAILABLE:
        return f"The account download could not be probed: {result.detail}"
    ended = "" if result.outcome is Outcome.TIMEOUT else "; the gateway ended the connection in it"
    why = f" ({result.detail})" if result.detail else ""
    return f"The account download has no end: {_requests(result)}{ended}{why}"


def no_account(result: LayerResult) -> bool:
    """ManagedAccounts came, and its list is empty."""
    return result.session is not None and result.session.accounts == () and result.stage is Stage.MANAGED_ACCOUNTS


def _port_open(result: LayerResult, target: Target) -> str:
    return f"{target.endpoint} accepts connections, in {duration(result.seconds or 0.0)}"


def _handshake_answered(result: LayerResult, target: Target) -> str:
    version = "unknown"
    if result.server:
        release_ = release_of(result.server.version, target.hello.maximum)
        version = f"{result.server.version} (API {release_})"
    clock = "" if result.stamp is Stamp.KERNEL else ", by our own clock"
    limit = f"; the limit is {duration(target.slow_after)}" if result.waited > target.slow_after else ""
    return f"The hello was answered in {duration(result.waited)}{clock}: server version {version}{limit}"


def _session_answered(result: LayerResult, target: Target) -> str:
    """The session's duration and accounts, and what is wrong with its servers, farms and clock."""
    facts = result.session or SessionFacts()
    took = "" if result.seconds is None else f" in {duration(result.seconds)}"
    parts = [f"startApi as client {facts.client_id} and reqCurrentTime were answered{took}"]
    if result.waited > target.slow_after:
        parts.append(f"reqCurrentTime alone took {duration(result.waited)}, the limit is {duration(target.slow_after)}")
    if facts.accounts is not None:
        names = ", ".join(shown(name, target) for name in facts.accounts[:MOST_ACCOUNTS])
        parts.append(f"managed accounts: {names or 'none'}")
        if len(facts.accounts) > MOST_ACCOUNTS:
            parts.append(f"and {len(facts.accounts) - MOST_ACCOUNTS} accounts more")
    if facts.upstream is False:
        codes = ", ".join(str(code) for code in facts.errors if code in LOST)
        parts.append("the gateway has lost IBKR's servers" + (f" (error {codes})" if codes else ""))
    broken = [farm for farm in facts.farms if not farm.connected]
    parts += [f"{FARMS[farm.kind]} farm {farm.name} is disconnected" for farm in broken[:MOST_FARMS]]
    if len(broken) > MOST_FARMS:
        parts.append(f"and {len(broken) - MOST_FARMS} farms more")
    errors = error_texts(code for code in facts.errors if code not in LOST)
    parts += [f"it sent {errors}"] if errors else []
    if facts.malformed:
        parts.append(f"it sent a malformed message ({', '.join(facts.malformed)}), which libraries may fail to read")
    if facts.clock_offset is not None and abs(facts.clock_offset) > CLOCK_TOLERANCE + result.waited / 2:
        word = "ahead of" if facts.clock_offset > 0 else "behind"
        parts.append(f"its clock is {abs(facts.clock_offset):.0f} s {word} ours")
    return "; ".join(parts)


def shown(account: str, target: Target) -> str:
    """Return an account for evidence: masked unless it is the configured one."""
    return account if account == target.account else masked(account)


def masked(account: str) -> str:
    """Return the ends of an account number, as in DU…567."""
    return f"{account[:2]}…{account[-3:]}" if len(account) >= MASKABLE else "…"


def release(installed: InstalledVersion) -> str:
    """Return an installed version in words: ibapi 9.81.1 on Python 3.13.0."""
    return f"{installed.library} {installed.version} on Python {installed.python}"


def _client(result: LayerResult) -> str:
    client = f"{result.client} ({release(result.installed)})" if result.installed else str(result.client)
    took = "" if result.seconds is None else f" after {duration(result.seconds)}"
    if result.ok:
        return f"{client} connected and was answered{took.replace(' after ', ' in ')}"
    if result.cause in PAUSED:
        return f"{client} {PAUSED[result.cause]}"
    if result.outcome is Outcome.UNAVAILABLE:
        return f"{client} could not be tried, which says nothing of the gateway"
    if result.cause is Cause.CLIENT_ID_IN_USE:
        return f"{client} was refused every client id that is reserved for it, which says nothing of the library"
    where = f" at the stage {result.stage.value}" if result.stage else ""
    why = f": {result.cause.value.replace('_', ' ')}" if result.cause else ""
    return f"{client} failed{where}, {result.outcome.value}{took}{why}"


def exchange(result: LayerResult) -> str:
    """Return the last messages of a client's connection in words; empty where none is known."""
    parts = []
    for direction, entries in groupby(result.exchange, key=lambda entry: entry.direction):
        run = list(entries)
        names = ", ".join(f"{entry.name} ×{entry.count}" if entry.count > 1 else entry.name for entry in run)  # noqa: RUF001 - the sign of multiplication
        verb = "closed by the" if direction is Direction.CLOSED else direction.value
        parts.append(f"{verb} {names} after {duration(run[-1].seconds)}")
    return "; ".join(parts)


PAUSED = {
    Cause.RESTING: "rests: the gateway stopped answering when it last connected, or soon after that",
    Cause.SUSPENDED: "is suspended until a reload: twice in a row the gateway stopped answering when it connected",
}
DOUBTS = {
    Doubt.ONCE: "it failed once, as after a lost connection: it counts if the next try fails too, which comes soon",
    Doubt.FALL: "the gateway stopped answering meanwhile: the library met that, or caused it",
    Doubt.PARTIAL: "some of our own connections are not answered either, while others are: not accused",
    Doubt.OTHERS: "it counts when the other libraries have been tried too, which comes soon",
    Doubt.WIRE: "our own probe found something wrong too, so it does not count",
}


def _downloaded(result: LayerResult, _: Target) -> str:
    return f"The account download was answered to its end in {duration(result.seconds or 0.0)}: {_requests(result)}"


def _requests(result: LayerResult) -> str:
    """Each request with its seconds and the number of its messages; never a content."""
    return ", ".join(
        f"{each.stage.value} "
        + ("without an end" if each.seconds is None else f"in {duration(each.seconds)}")
        + f" ({each.messages} message{'' if each.messages == 1 else 's'})"
        for each in result.requests
    )


SUCCESSES: dict[Layer, Callable[[LayerResult, Target], str]] = {
    Layer.PORT: _port_open,
    Layer.HANDSHAKE: _handshake_answered,
    Layer.SESSION: _session_answered,
    Layer.DOWNLOAD: _downloaded,
}

# The request of each stage of a session, and what did not come.
REQUESTS = {Stage.CURRENT_TIME: "reqCurrentTime within the session"}
MISSING = {
    Stage.START_API: "neither nextValidId nor managedAccounts came",
    Stage.NEXT_VALID_ID: "nextValidId never came",
    Stage.MANAGED_ACCOUNTS: "managedAccounts never came",
}

NO_ACCOUNT = "managedAccounts lists no account"
NO_GATEWAY = ", which no TWS or IB Gateway sends"
FAILURES: dict[tuple[Layer, Cause | None], str] = {
    (Layer.PORT, Cause.NAME_UNKNOWN): "The name {host} has no address",
    (Layer.PORT, Cause.NAME_TIMEOUT): "The name {host} got no answer from the resolver{took}",
    (Layer.PORT, Cause.NO_ROUTE): "There is no route to {endpoint}",
    (Layer.PORT, Cause.CONNECT_TIMEOUT): "The TCP connect to {endpoint} got no answer{took}",
    (Layer.PORT, Cause.CONNECT_REFUSED): "The TCP connect to {endpoint} was refused{took}",
    (Layer.HANDSHAKE, Cause.EOF): "The connection was closed{took} instead of an answer to the hello {offer}",
    (Layer.HANDSHAKE, Cause.RESET): "The connection was reset{took} instead of an answer to the hello {offer}",
    (Layer.HANDSHAKE, Cause.SILENCE): "The hello {offer} was sent, and not one byte came back: given up{took}",
    (Layer.HANDSHAKE, Cause.UNFINISHED): "The reply to the hello {offer} began and never ended: given up{took}",
    (
        Layer.HANDSHAKE,
        Cause.BROKEN_OFF,
    ): "The reply to the hello {offer} began, and the connection ended{took} in the middle of it",
    (Layer.HANDSHAKE, Cause.REDIRECT): "The hello {offer} was answered by a redirect",
    (Layer.HANDSHAKE, Cause.TOO_OLD): "The hello {offer} was answered with too old a version",
    (Layer.HANDSHAKE, Cause.API_ERROR): "The hello {offer} was answered by an error",
    (Layer.HANDSHAKE, Cause.HTTP): "The answer to the hello {offer} is HTTP" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.TLS): "The answer to the hello {offer} is a TLS alert" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.VNC): "The answer to the hello {offer} is a VNC banner" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.SSH): "The answer to the hello {offer} is an SSH banner" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.OVERSIZED): "The answer to the hello {offer} begins with an impossible length" + NO_GATEWAY,
    (Layer.HANDSHAKE, Cause.MALFORMED): "The answer to the hello {offer} is garbled" + NO_GATEWAY,
    (Layer.SESSION, Cause.CLIENT_ID_IN_USE): "startApi was refused{took}: the client id is in use",
    (Layer.SESSION, Cause.API_ERROR): "startApi was answered by an error{took}",
    (Layer.SESSION, Cause.TOO_OLD): "startApi was answered by an error{took}: the gateway is too old",
    (Layer.SESSION, Cause.EOF): "The connection was closed{took} instead of an answer to {request}",
    (Layer.SESSION, Cause.RESET): "The connection was reset{took} instead of an answer to {request}",
    (Layer.SESSION, Cause.SILENCE): "{request} was sent, and {missing}: given up{took}",
    (Layer.SESSION, Cause.UNFINISHED): "{request} was answered in part, and {missing}: given up{took}",
    (Layer.SESSION, Cause.OVERSIZED): "What came after {request} is no message of this API",
    (Layer.SESSION, Cause.MALFORMED): "What came after {request} is no message of this API",
    (Layer.SESSION, Cause.VERSION_UNKNOWN): "No session was begun",
    (Layer.SESSION, Cause.SUSPENDED): "No session was begun: twice in a row the gateway fell silent right after one",
}
