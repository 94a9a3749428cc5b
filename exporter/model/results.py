"""What probes find: the result of one layer, and the report of one tick."""

from dataclasses import dataclass, field

from exporter.model.enums import OUTCOME, Cause, Direction, Doubt, FarmKind, Layer, Outcome, Stage, Stamp
from exporter.model.target import Hello


@dataclass(frozen=True, slots=True)
class ServerHello:
    """A gateway's answer to the hello: the negotiated version, and its clock as text (never relied on)."""

    version: int
    time_text: str


@dataclass(frozen=True, slots=True, order=True)
class Farm:
    """A data farm as the gateway last reported it. One that is idle but available on demand counts as connected."""

    kind: FarmKind
    name: str
    connected: bool


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a gateway reported within one session; None and empty: it reported nothing.

    `clock_offset` is the gateway's clock minus ours in seconds, right to half a second, because the gateway sends whole
    ones, and half of the time that the answer took, because nobody knows when within it the gateway looked. `upstream`
    says whether the gateway has IBKR's servers. `errors` are the codes of API errors, in order. `conflicts` counts the
    client ids that were refused with error 326. `new_port` is where the API is from now on, by error 1300. Account
    numbers stay out of every repr, log, label and metric; evidence shows the configured one whole and others in part.
    """

    client_id: int | None = None
    accounts: tuple[str, ...] | None = field(default=None, repr=False)
    next_valid_id: int | None = None
    clock_offset: float | None = None
    upstream: bool | None = None
    farms: tuple[Farm, ...] = ()
    errors: tuple[int, ...] = ()
    conflicts: int = 0
    new_port: int | None = None
    malformed: tuple[str, ...] = ()  # what was wrong with messages that could not be read


@dataclass(frozen=True, slots=True)
class InstalledVersion:
    """The versions of a broker library and of its interpreter, and the seconds that its import took."""

    library: str
    version: str
    python: str
    import_seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One message of a library's connection, or `count` equal ones in a row: its name, never its contents.

    `seconds` count from the beginning of the library's connect.
    """

    direction: Direction
    name: str
    seconds: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class RequestResult:
    """One request of the account download: its stage, the seconds to its end, and the messages that came.

    `seconds` is None where the end did not come. `code` is the error that came instead of an answer.
    """

    stage: Stage
    seconds: float | None
    messages: int
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """One probe of one layer.

    `seconds` is the layer's own duration, None where nothing was measured. `stages` are the parts of it, in seconds.
    `stage` and `cause` say where and why it ended when the outcome is not ok. The stages of a session all count from
    its own beginning, startApi, but for `current_time`, which counts from the request.
    """

    layer: Layer
    outcome: Outcome
    seconds: float | None = None
    stage: Stage | None = None
    cause: Cause | None = None
    detail: str = ""
    stages: tuple[tuple[Stage, float], ...] = ()
    stamp: Stamp | None = None
    server: ServerHello | None = None
    client: str | None = None
    code: int | None = None  # the number of the API's error, where one ended the probe: 326, 503
    session: SessionFacts | None = None
    installed: InstalledVersion | None = None  # of a client: its versions
    doubt: Doubt | None = None  # of a client that failed: why that does not count
    requests: tuple[RequestResult, ...] = ()  # of the account download
    exchange: tuple[Exchanged, ...] = ()  # of a client: the last messages of its connection
    hello: Hello | None = None  # of a client: the server versions that it announced

    @classmethod
    def failed(cls, layer: Layer, cause: Cause, seconds: float, stage: Stage, detail: str = "") -> "LayerResult":
        """A probe of the wire that ended at `stage` for a cause."""
        return cls(
            layer=layer,
            outcome=OUTCOME[cause],
            seconds=seconds,
            stage=stage,
            cause=cause,
            detail=detail,
            stages=((stage, seconds),),
        )

    @property
    def ok(self) -> bool:
        """The layer answered as it should."""
        return self.outcome is Outcome.OK

    @property
    def waited(self) -> float:
        """Seconds that the gateway took for its answer to the hello, or to a session's request; 0: it gave none."""
        if self.layer is Layer.SESSION:
            return dict(self.stages).get(Stage.CURRENT_TIME, 0.0)
        return (self.seconds or 0.0) if self.layer is Layer.HANDSHAKE else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """The gateway stopped answering within a connection of ours or soon after it.

    `at` is the start of the first failed probe (unix seconds), `after` the seconds since the connection had ended; 0:
    within it. `client` is the library that had connected, None for a session of our own. `count` is how many times in a
    row: 1, then 2, at which such connections are suspended.
    """

    at: float
    after: float = 0.0
    client: str | None = None
    installed: InstalledVersion | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One tick of one target: the result of every layer that was probed.

    `at` is unix seconds at the start, `seconds` the whole tick. `connections` counts the TCP connections opened.
    `fault` is set when we failed, not the target: then the results claim nothing. `new_port` is the API's new port by
    the error 1300 that ended the watch's session. `fall` says with which connection of ours the present failure began.
    `answered_beside` is when a session of ours was last answered while this probe's hello was not. `remarks` are lines
    of evidence on the state of the target that no single layer shows. `lower_hello` is the answer to a hello with a
    lower maximum, where the usual hello got none.
    """

    target: str
    at: float
    seconds: float
    results: tuple[LayerResult, ...]
    connections: int = 0
    fault: str | None = None
    new_port: int | None = None
    fall: Fall | None = None
    answered_beside: float | None = None
    remarks: tuple[str, ...] = ()
    lower_hello: ServerHello | None = None

    def layer(self, layer: Layer) -> LayerResult | None:
        """The result of a wire layer, or None where it was not probed."""
        for result in self.results:
            if result.layer is layer and result.client is None:
                return result
        return None
