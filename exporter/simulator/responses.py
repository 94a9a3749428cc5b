"""What the simulated gateway sends, and when: pure functions from a mode to steps that scripted_socket.py plays."""

from collections.abc import Iterable
from dataclasses import replace

from exporter.protocol import settings
from exporter.protocol.download import DownloadRequest
from exporter.protocol.wire import Answer, Request, frame
from exporter.simulator import account, contract_details, gateway_config, messages
from exporter.simulator.account import Question
from exporter.simulator.messages import Message
from exporter.simulator.modes.behaviour import (
    AcceptBehaviour,
    EarlyMessage,
    GatewayMode,
    HelloBehaviour,
    Malformed,
    SettingsBehaviour,
    StartBehaviour,
    UpstreamBehaviour,
)
from exporter.simulator.settings import GatewaySettings
from exporter.simulator.steps import CLOSE, RESET, SILENCE, Ending, Script, Step, bytewise

FLOOD_CHUNK = b"x" * 65_536
FLOOD_CHUNKS = 1_526  # 100 MB
GARBAGE = bytes(range(255, 239, -1)) + b"\0" + bytes(range(239, 223, -1)) + b"\0"  # two fields, as a reply has
HUGE_LENGTH = b"\x7f\xff\xff\xff"
RELAY_PAUSE = 0.002  # a relay on the same machine learns that fast that nothing listens behind it
OLD_VERSION = 20
LAST_TEXT = 200  # the last server version of which every message is text

ID_IN_USE = (326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
BAD_MESSAGE = (507, "Bad Message")
UPDATE_NEEDED = (503, "The TWS is out of date and must be upgraded.")
LOST = (1100, "Connectivity between IBKR and Trader Workstation has been lost.")
RESTORED = (
    1102,
    (
        "Connectivity between IBKR and Trader Workstation has been restored - data maintained. "
        "All data farms are connected: {}."
    ),
)
BROKEN = (2110, "Connectivity between Trader Workstation and server is broken. It will be restored automatically.")


# the answers to a hello after which a client may go on, and the answers to startApi after which there is a session
GREETINGS = frozenset(
    {HelloBehaviour.REPLY, HelloBehaviour.SLOW, HelloBehaviour.BYTEWISE, HelloBehaviour.SPLIT, HelloBehaviour.TOO_OLD}
)
SESSIONS = frozenset(
    {StartBehaviour.SESSION, StartBehaviour.NOTHING, StartBehaviour.NO_ACCOUNTS, StartBehaviour.NO_NEXT_VALID_ID}
)


def at_accept(mode: GatewayMode) -> Script:
    """The steps as soon as a connection is accepted."""
    match mode.accept:
        case AcceptBehaviour.CLOSE:
            return CLOSE
        case AcceptBehaviour.RESET:
            return RESET
        case AcceptBehaviour.RELAY:
            return (Step(delay=RELAY_PAUSE, ending=Ending.DROP),)
        case AcceptBehaviour.BANNER:
            return (Step(mode.banner),)
        case _:
            return SILENCE


def at_hello(mode: GatewayMode, setup: GatewaySettings, version: int, now: float) -> Script:
    """The answer to a hello with which `version` was negotiated. `now` is the gateway's clock in unix seconds."""
    steps = _reply(mode, setup, version, now)
    if mode.early is None:
        return steps
    early = _early(
        mode.early, setup, now
    )  # in one segment with the reply: then a library's reaction depends on no timing
    return (replace(steps[0], data=early + steps[0].data), *steps[1:]) if steps else (Step(early),)


def _reply(mode: GatewayMode, setup: GatewaySettings, version: int, now: float) -> Script:
    whole = messages.reply(version, setup.time_text(now))
    half = len(whole) // 2
    steps: Script
    match mode.hello:
        case HelloBehaviour.REPLY | HelloBehaviour.TOO_OLD:
            steps = (Step(whole),)
        case HelloBehaviour.SLOW:
            steps = (Step(whole, delay=setup.slow),)
        case HelloBehaviour.BYTEWISE:
            steps = bytewise((Step(whole),), setup.byte_pause)
        case HelloBehaviour.SPLIT:
            steps = (Step(whole[:half]), Step(whole[half:], delay=setup.split_pause))
        case HelloBehaviour.HALF:
            steps = (Step(whole[:half]),)
        case HelloBehaviour.HALF_CLOSE:
            steps = (Step(whole[:half], ending=Ending.CLOSE),)
        case _:
            steps = _unusable_reply(mode, setup)
    return steps


def _unusable_reply(mode: GatewayMode, setup: GatewaySettings) -> Script:
    steps: Script
    match mode.hello:
        case HelloBehaviour.GARBAGE:
            steps = (Step(frame(GARBAGE)),)
        case HelloBehaviour.HUGE_LENGTH:
            steps = (Step(HUGE_LENGTH),)
        case HelloBehaviour.FLOOD:
            steps = (Step(FLOOD_CHUNK, times=FLOOD_CHUNKS, ending=Ending.CLOSE),)
        case HelloBehaviour.REDIRECT:
            steps = (Step(frame(f"-1\0{setup.redirect_to}\0".encode())),)
        case HelloBehaviour.UPDATE_NEEDED:
            steps = (Step(messages.error(OLD_VERSION, messages.NO_REQUEST, *UPDATE_NEEDED, 0), ending=Ending.CLOSE),)
        case HelloBehaviour.VERSION:
            steps = (Step(frame("\0".join((*mode.reply, "")).encode())),)
        case HelloBehaviour.ERROR:
            words = messages.error(min(setup.server_version, LAST_TEXT), messages.NO_REQUEST, mode.error, "refused", 0)
            steps = (Step(words, ending=Ending.CLOSE),)
        case HelloBehaviour.CLOSE:
            steps = CLOSE
        case _:
            steps = SILENCE
    return steps


def _early(early: EarlyMessage, setup: GatewaySettings, now: float) -> bytes:
    """A message before the reply, when no version is agreed upon yet."""
    version = min(setup.server_version, LAST_TEXT)
    match early:
        case EarlyMessage.NEWS:
            return frame(b"14\x001\x001\x001\0Exchange closed\0NYSE\0")
        case EarlyMessage.TICK:
            return frame(b"84\x001\0%d\0BRFG\0BRFG$1\0Headline\0\0" % int(now * 1000))
        case EarlyMessage.USER_INFO:
            return frame(b"107\x000\0\0")
        case EarlyMessage.LOSS:
            return _error(version, now, LOST)
        case EarlyMessage.PROTOBUF:
            return _error(messages.PROTOBUF_FROM[Answer.ERROR], now, setup.farms[0].notice(broken=False))
        case EarlyMessage.NOTICE:
            return _error(version, now, setup.farms[0].notice(broken=False))


def at_start(mode: GatewayMode, setup: GatewaySettings, version: int, now: float) -> Script:
    """The answer to a startApi whose client id is free."""
    steps: Script
    match mode.start:
        case StartBehaviour.SESSION | StartBehaviour.NO_ACCOUNTS | StartBehaviour.NO_NEXT_VALID_ID:
            steps = tuple(Step(data) for data in _opening(mode, setup, version, now))
        case StartBehaviour.ID_IN_USE:
            steps = refusal(version, now)
        case StartBehaviour.ID_IN_USE_OPEN:
            steps = (Step(_error(version, now, ID_IN_USE)),)
        case StartBehaviour.BAD_MESSAGE:
            steps = (Step(_error(version, now, BAD_MESSAGE), ending=Ending.CLOSE),)
        case StartBehaviour.CLOSE:
            steps = CLOSE
        case StartBehaviour.RESET:
            steps = RESET
        case _:
            steps = SILENCE
    return steps


def refusal(version: int, now: float) -> Script:
    """A client id that is in use: error 326, then the end."""
    return (Step(_error(version, now, ID_IN_USE), ending=Ending.CLOSE),)


def at_request(mode: GatewayMode, setup: GatewaySettings, version: int, message: Message, now: float) -> Script:
    """The answer to a request within a session; silence for what this gateway does not know.

    Raises ValueError if the request cannot be read.
    """
    match message.id:
        case _ if not mode.answering:
            return SILENCE
        case Request.REQ_CURRENT_TIME:
            return (Step(messages.current_time(version, int(now)), delay=setup.thinking()),)
        case Request.REQ_IDS:
            return (Step(messages.next_valid_id(version, setup.next_order_id)),)
        case Request.REQ_MANAGED_ACCOUNTS if mode.start is not StartBehaviour.NO_ACCOUNTS:
            return (Step(messages.managed_accounts(version, _accounts(mode, setup))),)
        case Request.REQ_CONTRACT_DETAILS if mode.contracts and mode.upstream is UpstreamBehaviour.CONNECTED:
            return tuple(Step(data) for data in contract_details.details(version, message, now))
        case _:
            return _rest(mode, Question(version, message, setup, now))


def _rest(mode: GatewayMode, question: Question) -> Script:
    """The answer to a request for the settings or of the account download."""
    if question.message.id == settings.REQUEST and question.version >= settings.SETTINGS_FROM:
        return _settings(mode, question)
    return _download(mode, question)


def _settings(mode: GatewayMode, question: Question) -> Script:
    match mode.settings:
        case SettingsBehaviour.ANSWERED:
            return (Step(gateway_config.answer(question.setup, question.message)),)
        case SettingsBehaviour.REFUSED:
            return (Step(_error(question.version, question.now, gateway_config.REFUSED)),)
        case SettingsBehaviour.CLOSE:
            return CLOSE
        case _:
            return SILENCE


def _download(mode: GatewayMode, question: Question) -> Script:
    """The answer to a request of the account download, as far as the mode lets it come; silence for any other."""
    identity = question.message.id
    request = DownloadRequest.OPEN_ORDERS if identity == account.ALL_OPEN_ORDERS else identity
    if request == mode.unanswered or not account.is_download(question.message):
        return SILENCE
    steps = tuple(Step(data) for data in account.answer(question))
    if request == mode.endless:
        return steps[:-1]
    if mode.values_cut and request == DownloadRequest.ACCOUNT_UPDATES:
        return (*steps[: len(steps) // 2], Step(ending=Ending.CLOSE))
    return steps


def at_change(before: GatewayMode, after: GatewayMode, setup: GatewaySettings, version: int, now: float) -> Script:
    """The notices of a live session when the gateway's mode changes: links lost and restored."""
    messages = []
    if before.upstream is not after.upstream:
        farms = "; ".join(farm.name for farm in setup.farms)
        code, text = {UpstreamBehaviour.LOST: LOST, UpstreamBehaviour.BROKEN: BROKEN}.get(after.upstream, RESTORED)
        messages.append((code, text.format(farms)))
    if before.farm_broken is not after.farm_broken:
        messages += [farm.notice(broken=after.farm_broken) for farm in setup.farms if farm.name == setup.broken_farm]
    return tuple(Step(_error(version, now, message)) for message in messages)


def _opening(mode: GatewayMode, setup: GatewaySettings, version: int, now: float) -> Iterable[bytes]:
    """What a session starts with, in the order of a recorded gateway: accounts, order id, the state of the links.

    A malformed message comes in one segment with all of that: then a library's reaction depends on no timing.
    """
    if mode.malformed is not None:
        malformed = frame(b"") if mode.malformed is Malformed.EMPTY else messages.malformed_error(version)
        yield malformed + b"".join(_opening(replace(mode, malformed=None), setup, version, now))
        return
    if mode.start is not StartBehaviour.NO_ACCOUNTS:
        yield messages.managed_accounts(version, _accounts(mode, setup))
    if mode.start is not StartBehaviour.NO_NEXT_VALID_ID:
        yield messages.next_valid_id(version, setup.next_order_id)
    yield from _notices(mode, setup, version, now)


def _accounts(mode: GatewayMode, setup: GatewaySettings) -> tuple[str, ...]:
    if mode.empty_accounts:
        return ()
    return setup.other_accounts if mode.wrong_account else setup.accounts


def _notices(mode: GatewayMode, setup: GatewaySettings, version: int, now: float) -> Iterable[bytes]:
    if mode.upstream is not UpstreamBehaviour.CONNECTED:
        yield _error(version, now, LOST if mode.upstream is UpstreamBehaviour.LOST else BROKEN)
        return
    for farm in setup.farms:
        yield _error(version, now, farm.notice(broken=mode.farm_broken and farm.name == setup.broken_farm))


def _error(version: int, now: float, message: tuple[int, str]) -> bytes:
    return messages.error(version, messages.NO_REQUEST, *message, int(now * 1000))
