"""From the file's sections to the values of the model (Target, ClientSpec, Window), with the rules between keys.

Every rule reports all problems that it finds. Sections with a faulty value do not get here (validate.py).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from exporter.config.checks import InvalidValue, is_address, parse_versions
from exporter.config.endpoint import MODES, free_client_ids
from exporter.config.errors import suggestion
from exporter.config.maintenance_windows import NO_ZONES, Calendar, calendar, parse_time, restart_window
from exporter.config.schema import (
    ClientSection,
    DefaultsSection,
    RestartSection,
    Settings,
    TargetSection,
    WindowSection,
)
from exporter.config.types import Defaults, TargetRules, fitting_deadline, usual_slow_after
from exporter.config.validate import Sound
from exporter.config.yaml_source import Loc
from exporter.maintenance import RESTART, Day, Entry, Region, Window
from exporter.model import AddressFamily, ClientSpec, Mode, Target

Complain = Callable[[Loc, str, str], None]


def resolve_calendar(sound: Sound, complain: Complain) -> Calendar:
    """The windows that are written, or IBKR's own."""
    written = sound.settings.maintenance
    if written is None:
        try:
            return calendar()
        except InvalidValue as fault:
            complain(("maintenance",), f"IBKR's own windows cannot be used: {fault.message}", NO_ZONES)
            return Calendar(())
    for index, window in zip(sound.windows, written, strict=True):
        loc = ("maintenance", index)
        if window.start == window.end:
            complain((*loc, "end"), f"the window ends at {window.end}, when it starts", "Make it end later")
        if not window.days:
            complain((*loc, "days"), "no day is named", "Name some, or leave this out for every day")
        if window.name == RESTART:
            remedy = "Write restart: {time, timezone} under the target or under defaults, or choose another name"
            complain((*loc, "name"), f'the name "{RESTART}" is that of the targets\' own windows', remedy)
    return calendar(map(_entry, written))


def _entry(section: WindowSection) -> Entry:
    return Entry(
        section.name,
        Region(section.region) if section.region else None,
        tuple(map(Day, section.days)),
        parse_time(section.start),
        parse_time(section.end),
        section.timezone,
    )


def resolve_restart(section: RestartSection | None) -> Window | None:
    """The window of a gateway's own restart."""
    return restart_window(section.time, section.timezone, section.length) if section else None


def resolve_defaults(section: DefaultsSection, calendar: Calendar, complain: Complain) -> Defaults:
    """The defaults, their durations in order."""
    written = "deadline" in section.model_fields_set
    defaults = Defaults(
        interval=section.interval,
        deadline=section.deadline if written else fitting_deadline(section.deadline, section.interval),
        slow_after=section.slow_after,
        hello=parse_versions(section.api_versions),
        address_family=AddressFamily(section.address_family),
        windows=calendar.of(Region(section.region), resolve_restart(section.restart)),
    )
    _check_durations(("defaults",), defaults.interval, defaults.deadline, defaults.slow_after, complain)
    return defaults


def resolve_clients(settings: Settings, libraries: Collection[str], complain: Complain) -> dict[str, ClientSpec]:
    """Every configured client, by name."""
    specs = {name: _client(name, client) for name, client in (settings.clients or {}).items()}
    for name, client in specs.items():
        if client.library not in libraries:
            drivers = sorted(libraries)
            remedy = suggestion(client.library, drivers) or f"Known are {', '.join(drivers)}"
            complain(("clients", name, "library"), f'there is no driver for the library "{client.library}"', remedy)
        _check_durations(("clients", name), client.interval, client.deadline, None, complain)
    return specs


def _client(name: str, section: ClientSection) -> ClientSpec:
    written = "deadline" in section.model_fields_set
    deadline = section.deadline if written else fitting_deadline(section.deadline, section.interval)
    return ClientSpec(name, section.library, section.python, section.interval, deadline, download=section.download)


def resolve_targets(sound: Sound, rules: TargetRules, names: Collection[str], complain: Complain) -> tuple[Target, ...]:
    """Every target, with its defaults. `names` are those of the clients, the faulty ones included."""
    targets = {}
    for index, section in zip(sound.targets, sound.settings.targets, strict=True):
        target = resolve_target(section, rules)
        if sound.defaults:
            check_durations_of(section, target, ("targets", index), complain)
        check_target(section, target, names, ("targets", index), complain)
        targets[index] = target
    _check_names(targets, complain)
    _check_shared_ids(targets, complain)
    return tuple(targets.values())


def resolve_target(section: TargetSection, rules: TargetRules) -> Target:
    """The target with its defaults."""
    target = _target(section, rules.defaults, rules.clients)
    if section.region or section.restart:
        region = Region(section.region) if section.region else rules.region
        restart = resolve_restart(section.restart) or rules.restart
        target = replace(target, windows=rules.calendar.of(region, restart))
    return target


def _target(section: TargetSection, defaults: Defaults, clients: Sequence[str]) -> Target:
    interval = defaults.interval if section.interval is None else section.interval
    deadline = fitting_deadline(defaults.deadline, interval) if section.deadline is None else section.deadline
    slow_after = defaults.slow_after if section.slow_after is None else section.slow_after
    if section.slow_after is None and deadline < defaults.deadline and (slow_after or 0.0) >= deadline:
        slow_after = None  # a limit for the longer deadline
    ids = free_client_ids(section.avoid_client_ids) if section.client_ids is None else tuple(section.client_ids)
    default_clients = clients if ids else ()
    return Target(
        name=section.name,
        host=section.host,
        port=section.port,
        mode=Mode(section.mode) if section.mode else MODES.get(section.port, Mode.UNKNOWN),
        interval=interval,
        deadline=deadline,
        slow_after=usual_slow_after(deadline) if slow_after is None else slow_after,
        hello=defaults.hello if section.api_versions is None else parse_versions(section.api_versions),
        address_family=AddressFamily(section.address_family or defaults.address_family),
        client_ids=ids,
        avoid_client_ids=tuple(section.avoid_client_ids),
        account=section.account,
        clients=tuple(default_clients if section.clients is None else section.clients),
        watch=len(ids) > 1 if section.watch is None else section.watch,
        download=section.download,
        download_interval=section.download_interval,
        settings=section.settings,
        launcher_log=section.launcher_log,
        windows=defaults.windows or (),
        labels=dict(section.labels),
    )


def check_target(section: TargetSection, target: Target, names: Collection[str], loc: Loc, complain: Complain) -> None:
    """Check the rules between the keys of one target; `names` are those of the clients."""
    _check_ids(section, target, loc, complain)
    for index, name in enumerate(target.clients):
        if name not in names:
            remedy = suggestion(name, sorted(names)) or f"Add it under clients, or remove it here{_known(names)}"
            complain((*loc, "clients", index), f'there is no client "{name}"', remedy)
        if name in target.clients[:index]:
            complain((*loc, "clients", index), f'the client "{name}" is written twice', "Keep one of them")
    if is_address(target.host):
        family = AddressFamily.IPV6 if ":" in target.host else AddressFamily.IPV4
        if target.address_family not in (AddressFamily.ANY, family):
            message = f"{target.host} is no address of the family {target.address_family}"
            complain((*loc, "address_family"), message, f"Write {family} or any")


def check_durations_of(section: TargetSection, target: Target, loc: Loc, complain: Complain) -> None:
    """Check the order of the durations that the target writes itself."""
    if any(value is not None for value in (section.interval, section.deadline, section.slow_after)):
        _check_durations(loc, target.interval, target.deadline, target.slow_after, complain)


def _known(names: Collection[str]) -> str:
    return f"; known are {', '.join(sorted(names))}" if names else ""


def _check_ids(section: TargetSection, target: Target, loc: Loc, complain: Complain) -> None:
    place = (*loc, "client_ids")
    for index, client_id in enumerate(target.client_ids):
        if client_id in target.client_ids[:index]:
            complain((*place, index), f"client id {client_id} is written twice", "Keep one of them")
        if client_id in target.avoid_client_ids:
            message = (
                f"client id {client_id} is in avoid_client_ids: a probe with it would throw the trading program off"
            )
            complain((*place, index), message, "Reserve an id that no program uses, such as 9001")
    if not target.client_ids:
        remedy = "Reserve one in client_ids, or remove this"
        if section.clients:
            complain((*loc, "clients"), "a client library needs a client id, and none is reserved", remedy)
        if section.download:
            complain((*loc, "download"), "the account download needs a client id, and none is reserved", remedy)
        if section.settings:
            complain((*loc, "settings"), "the settings cannot be asked for without a client id", remedy)
        if section.account:
            complain((*loc, "account"), "the accounts cannot be read without a client id, and none is reserved", remedy)
    if section.watch and len(set(target.client_ids)) < 2:  # noqa: PLR2004 - one for the watch, one for the probes
        message = "the watch needs a client id beside that of the probes, and fewer than two are reserved"
        complain((*loc, "watch"), message, "Reserve a second one in client_ids, or write watch: false")


def _check_durations(loc: Loc, interval: float, deadline: float, slow_after: float | None, complain: Complain) -> None:
    if deadline >= interval:
        message = f"the deadline ({deadline:g}s) is not shorter than the interval ({interval:g}s)"
        remedy = "Make it shorter, or the interval longer: a probe must end before the next begins"
        complain((*loc, "deadline"), message, remedy)
    if slow_after is not None and slow_after >= deadline:
        message = f"slow_after ({slow_after:g}s) is not shorter than the deadline ({deadline:g}s)"
        remedy = "Make it shorter: what takes longer than the deadline is a timeout, never slow"
        complain((*loc, "slow_after"), message, remedy)


def _check_names(targets: Mapping[int, Target], complain: Complain) -> None:
    first: dict[str, int] = {}
    for index, target in targets.items():
        if target.name in first:
            message = f'the name "{target.name}" is that of targets[{first[target.name]}] already'
            complain(("targets", index, "name"), message, "Give each target its own name")
        first.setdefault(target.name, index)


def _check_shared_ids(targets: Mapping[int, Target], complain: Complain) -> None:
    for first, second, shared in _pairs(targets):
        ids = f"client id{'s' if len(shared) > 1 else ''} {', '.join(map(str, shared))}"
        message = f"targets[{first}] probes the same gateway with {ids}"
        remedy = "Give each its own client_ids: two probes with one id throw each other off"
        complain(("targets", second, "client_ids"), message, remedy)


def _pairs(targets: Mapping[int, Target]) -> Iterator[tuple[int, int, list[int]]]:
    """Each target that has client ids of an earlier one with the same endpoint: that one, itself, and these ids."""
    first: dict[tuple[str, int], int] = {}  # the first target with this client id at this endpoint
    for index, target in targets.items():
        shared: dict[int, list[int]] = {}
        for client_id in dict.fromkeys(target.client_ids):
            owner = first.setdefault((target.endpoint.lower(), client_id), index)
            if owner != index:
                shared.setdefault(owner, []).append(client_id)
        yield from ((owner, index, ids) for owner, ids in shared.items())
