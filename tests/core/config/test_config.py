import ipaddress
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import (
    ConfigError,
    Listen,
    Problem,
    from_environment,
    load,
    target_for_endpoint,
    with_default_clients,
)
from exporter.config.errors import MAX_LINE
from exporter.config.value_files import open_failure
from exporter.config.yaml_source import parse
from exporter.model import AddressFamily, ClientSpec, Hello, Mode

CONFIGS = Path(__file__).parents[2] / "configs"
ONE = "targets:\n  - {name: a, host: 127.0.0.1, port: 7497}\n"
LIBRARIES = ("ib_async", "ib_insync", "ibapi", "nautilus_trader")  # those that the bad configurations name


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "exporter.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def complaints(path: Path, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(problem).removeprefix(f"{path.parent}{os.sep}") for problem in caught.value.problems]


def problems_of(work: Callable[[], object]) -> tuple[Problem, ...]:
    """None, where it works; any error but a ConfigError is the test's failure."""
    try:
        work()
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("path", sorted((CONFIGS / "bad").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_bad_configuration_gets_exactly_the_complaints_in_its_first_lines(path: Path) -> None:
    expected = []
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("# "):
            break
        expected.append(line.removeprefix("# "))

    assert expected
    assert complaints(path, libraries=LIBRARIES) == expected


@pytest.mark.parametrize("path", sorted((CONFIGS / "good").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_good_configuration_loads(path: Path) -> None:
    assert load(path).source == str(path)


def test_every_key_reaches_the_value_it_is_meant_for(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
targets:
  - name: paper
    host: gateway
    port: 5000
    mode: live
    interval: 30s
    deadline: 2500ms
    slow_after: 0.5
    api_versions: v120..200
    address_family: ipv4
    client_ids: [9005, 9006, 9007]
    avoid_client_ids: [0, 7]
    account: DU1234567
    clients: [bot]
    watch: false
    launcher_log: /logs/launcher.log
    labels: {desk: rates}
clients:
  bot: {library: nautilus_trader, python: /srv/bot/bin/python, interval: 2m, deadline: 30s}
  other: {library: ib_async}
defaults: {interval: 10s, deadline: 3s, slow_after: 2s, api_versions: 100..178, address_family: ipv6}
web: {listen: "[::1]:9000", systemd_socket: true, external_url: "https://m.example:8443/a/ibkr/", route_prefix: ibkr/}
probe: {allow: [10.0.0.0/8]}
log: {level: debug, format: json}
""",
    )

    config = load(path)

    target = config.targets[0]
    assert (target.name, target.host, target.port, target.mode) == ("paper", "gateway", 5000, Mode.LIVE)
    assert (target.interval, target.deadline, target.slow_after) == (30.0, 2.5, 0.5)
    assert (target.hello, target.address_family) == (Hello(120, 200), AddressFamily.IPV4)
    assert (target.client_ids, target.avoid_client_ids) == ((9005, 9006, 9007), (0, 7))
    assert (target.account, target.clients, target.watch) == ("DU1234567", ("bot",), False)
    assert (target.launcher_log, dict(target.labels)) == ("/logs/launcher.log", {"desk": "rates"})
    assert config.clients == {
        "bot": ClientSpec("bot", "nautilus_trader", "/srv/bot/bin/python", 120.0, 30.0),
        "other": ClientSpec("other", "ib_async", None, 60.0, 15.0),
    }
    assert (config.listen, config.systemd_socket) == ((Listen("::1", 9000),), True)
    assert (config.external_url, config.route_prefix) == ("https://m.example:8443/a/ibkr", "/ibkr")
    assert config.probe_allow == (ipaddress.ip_network("10.0.0.0/8"),)
    assert (config.log_level, config.log_format) == ("debug", "json")
    assert (config.defaults.interval, config.defaults.deadline, config.defaults.slow_after) == (10.0, 3.0, 2.0)
    assert (config.defaults.hello, config.defaults.address_family) == (Hello(100, 178), AddressFamily.IPV6)


def test_a_target_takes_what_it_does_not_say_from_the_defaults(tmp_path: Path) -> None:
    defaults = "defaults: {interval: 10s, deadline: 3s, slow_after: 2s, api_versions: 100..178, address_family: ipv4}\n"

    target = load(written(tmp_path, ONE + defaults)).targets[0]

    assert (target.interval, target.deadline, target.slow_after) == (10.0, 3.0, 2.0)
    assert (target.hello, target.address_family) == (Hello(100, 178), AddressFamily.IPV4)


@pytest.mark.parametrize(
    ("keys", "common", "limit"),
    [
        (", deadline: 500ms", "{}", 0.25),
        ("", "{deadline: 500ms}", 0.25),
        (", deadline: 1500ms", "{}", 0.75),
        (", interval: 2m, deadline: 40s", "{deadline: 500ms}", 1.0),
        (", deadline: 500ms", "{slow_after: 400ms}", 0.4),
    ],
)
def test_the_limit_of_slow_follows_the_deadline_where_none_is_written(
    tmp_path: Path, keys: str, common: str, limit: float
) -> None:
    one = "targets:\n  - {name: paper, host: gateway, port: 7497" + keys + "}\n"

    assert load(written(tmp_path, f"{one}defaults: {common}\n")).targets[0].slow_after == limit


def test_a_probe_of_an_endpoint_takes_the_limit_of_slow_from_the_default_deadline_too(tmp_path: Path) -> None:
    config = load(written(tmp_path, ONE + "defaults: {deadline: 500ms}\n"))

    assert target_for_endpoint("gateway", 7497, config.defaults).slow_after == 0.25
    assert target_for_endpoint("gateway", 7497).slow_after == 1.0


def test_three_keys_are_enough(tmp_path: Path) -> None:
    config = load(written(tmp_path, ONE))

    target = config.targets[0]
    assert (target.mode, target.interval, target.deadline, target.slow_after) == (Mode.PAPER, 15.0, 5.0, 1.0)
    assert (target.client_ids, target.clients, target.account, target.watch) == ((9001, 9002, 9003), (), None, True)
    assert target.hello == Hello(100, 226)
    assert (config.listen, config.log_level) == ((Listen("127.0.0.1", 9497),), "info")


@pytest.mark.parametrize(
    ("port", "mode"),
    [(7497, "paper"), (4002, "paper"), (4004, "paper"), (7496, "live"), (4001, "live"), (4003, "live")],
)
def test_a_usual_port_tells_the_mode(tmp_path: Path, port: int, mode: str) -> None:
    assert load(written(tmp_path, ONE.replace("7497", str(port)))).targets[0].mode == mode


def test_any_other_port_leaves_the_mode_unknown(tmp_path: Path) -> None:
    assert load(written(tmp_path, ONE.replace("7497", "5000"))).targets[0].mode is Mode.UNKNOWN


@pytest.mark.parametrize(
    ("keys", "common", "deadline", "slow_after"),
    [
        (", interval: 4s", "{}", 3.2, 1.0),
        (", interval: 1s", "{}", 0.8, 0.4),
        ("", "{interval: 3s}", 2.4, 1.0),
        (", interval: 4s", "{deadline: 10s}", 3.2, 1.0),
        (", interval: 4s", "{slow_after: 4s}", 3.2, 1.0),
        (", interval: 6s", "{}", 5.0, 1.0),
    ],
)
def test_a_short_interval_shortens_the_default_deadline(
    tmp_path: Path, keys: str, common: str, deadline: float, slow_after: float
) -> None:
    one = ONE.replace("7497}", f"7497{keys}}}")

    target = load(written(tmp_path, f"{one}defaults: {common}\n")).targets[0]
    assert (target.deadline, target.slow_after) == (deadline, slow_after)


def test_a_short_interval_shortens_the_default_deadline_of_a_client(tmp_path: Path) -> None:
    config = load(written(tmp_path, ONE + "clients: {x: {library: ib_async, interval: 10s}}\n"))

    assert config.clients["x"].deadline == 8.0


def test_client_ids_by_default_keep_away_from_the_trading_programs(tmp_path: Path) -> None:
    text = ONE.replace("7497}", "7497, avoid_client_ids: [9001, 9007]}")

    # four more, since nautilus_trader moves on to those when its own is refused
    assert load(written(tmp_path, text)).targets[0].client_ids == (9006, 9012, 9013)


def test_a_target_that_names_no_clients_has_all_of_them(tmp_path: Path) -> None:
    clients = "clients: {x: {library: ib_async}, y: {library: ibapi}}\n"

    assert load(written(tmp_path, ONE + clients)).targets[0].clients == ("x", "y")
    assert load(written(tmp_path, ONE.replace("}", ", clients: []}") + clients)).targets[0].clients == ()
    assert load(written(tmp_path, ONE.replace("}", ", client_ids: []}") + clients)).targets[0].clients == ()


@pytest.mark.parametrize(("ids", "on"), [("[9001, 9002]", True), ("[9001]", False), ("[]", False)])
def test_the_watch_is_on_by_default_where_it_has_an_id_of_its_own(tmp_path: Path, ids: str, on: bool) -> None:  # noqa: FBT001
    text = ONE.replace("}", f", client_ids: {ids}}}")

    assert load(written(tmp_path, text)).targets[0].watch is on


def test_without_the_key_clients_every_target_that_lists_none_tries_those_that_are_installed(tmp_path: Path) -> None:
    more = "  - {name: b, host: h, port: 1, clients: []}\n  - {name: c, host: i, port: 1, clients: [ibapi]}\n"
    more += "  - {name: d, host: j, port: 1, client_ids: []}\n"

    config = load(written(tmp_path, ONE + more + "clients:\n"))
    assert (config.default_clients, config.open_targets) == ("installed", frozenset({"a"}))
    assert config.clients == {"ibapi": ClientSpec("ibapi", "ibapi")}
    filled = with_default_clients(config, [ClientSpec("ib_async", "ib_async"), ClientSpec("old", "ibapi")])
    assert [target.clients for target in filled.targets] == [("ib_async", "old"), (), ("ibapi",), ()]
    assert set(filled.clients) == {"ibapi", "ib_async", "old"}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", "installed"),
        ("all", "all"),
        ("none", ()),
        ("ib_async, ibapi-9.81.1,ib_async", ("ib_async", "ibapi-9.81.1")),
    ],
)
def test_the_environment_chooses_the_clients_where_the_file_has_none(
    tmp_path: Path, text: str, chosen: str | tuple[str, ...]
) -> None:
    environ = {"IBKR_EXPORTER_CLIENTS": text, "IB_PORT": "7497"}

    assert load(written(tmp_path, ONE), environ).default_clients == chosen
    assert from_environment(environ).default_clients == chosen
    config = load(written(tmp_path, ONE + "clients: {}\n"), environ)
    assert (config.default_clients, config.open_targets, config.clients) == ((), frozenset(), {})


def test_the_known_libraries_are_those_that_have_a_driver(tmp_path: Path) -> None:
    path = written(tmp_path, ONE + "clients: {x: {library: new_one}}\n")

    assert load(path, libraries=("new_one",)).clients["x"].library == "new_one"
    assert complaints(path, libraries=("first", "second")) == [
        'exporter.yaml:3: clients.x.library: there is no driver for the library "new_one". Known are first, second'
    ]


def test_the_environment_says_where_to_listen_if_the_file_does_not(tmp_path: Path) -> None:
    environ = {"IBKR_EXPORTER_LISTEN": ":9000"}

    silent = load(written(tmp_path, ONE), environ)
    assert silent.listen == (Listen("", 9000),)
    saying = load(written(tmp_path, ONE + "web: {listen: 127.0.0.1:9001}\n"), environ)
    assert saying.listen == (Listen("127.0.0.1", 9001),)


def test_several_addresses_to_listen_on_are_a_list_or_have_commas_between_them(tmp_path: Path) -> None:
    two = (Listen("127.0.0.1", 9000), Listen("::1", 9000))

    assert load(written(tmp_path, ONE + 'web: {listen: ["127.0.0.1:9000", "[::1]:9000"]}\n')).listen == two
    assert load(written(tmp_path, ONE), {"IBKR_EXPORTER_LISTEN": "127.0.0.1:9000, [::1]:9000,"}).listen == two


@pytest.mark.parametrize(
    ("web", "prefix"),
    [
        ("{}", ""),
        ("{external_url: 'http://[::1]:80'}", ""),
        ("{external_url: 'https://m.example/a/b/'}", "/a/b"),
        ("{external_url: 'https://m.example/a', route_prefix: /}", ""),
        ("{external_url: 'https://m.example/a', route_prefix: ''}", "/a"),
        ("{external_url: 'https://m.example/a', route_prefix: b//}", "/b"),
        ("{route_prefix: //c}", "/c"),
    ],
)
def test_the_prefix_of_the_routes_is_that_of_the_external_url_unless_it_is_written(
    tmp_path: Path, web: str, prefix: str
) -> None:
    assert load(written(tmp_path, f"{ONE}web: {web}\n")).route_prefix == prefix


def test_a_bad_listen_variable_is_a_complaint_beside_those_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, ONE + "wob: {}\n")

    assert complaints(path, environ={"IBKR_EXPORTER_LISTEN": "x"}) == [
        (
            'environment: IBKR_EXPORTER_LISTEN: "x" is not an address to listen on. '
            "Write HOST:PORT, such as 127.0.0.1:9497, or :9497"
        ),
        'exporter.yaml:3: wob: unknown key. Did you mean "web"?',
    ]


def test_a_file_that_is_not_there_is_one_complaint(tmp_path: Path) -> None:
    assert complaints(tmp_path / "none.yaml") == [
        "none.yaml: there is no such file. Give the path of the configuration with --config"
    ]


def test_a_directory_is_one_complaint_that_knows_how_docker_makes_one(tmp_path: Path) -> None:
    (tmp_path / "exporter.yaml").mkdir()

    assert complaints(tmp_path / "exporter.yaml") == [
        (
            "exporter.yaml: this is a directory. Name the file in it. "
            "Docker makes such a directory when the file to mount does not exist on the host"
        )
    ]


def test_a_file_that_may_not_be_read_is_one_complaint() -> None:
    # asked of the function: root, as which tests run in containers, may read everything
    assert open_failure(PermissionError(), "") == (
        "the file may not be read",
        "Let the user that runs the exporter read it (chmod, chown)",
    )


def test_a_configuration_may_come_through_a_pipe() -> None:
    reads, writes = os.pipe()
    os.write(writes, ONE.encode())
    os.close(writes)
    assert load(f"/dev/fd/{reads}").targets[0].name == "a"
    os.close(reads)


def test_a_path_that_no_file_can_have_is_one_complaint(tmp_path: Path) -> None:
    [complaint] = complaints(tmp_path / "a\0b")

    assert complaint.startswith("a\\x00b: the file cannot be read: ")


def test_bytes_that_are_not_utf8_are_one_complaint_with_their_line(tmp_path: Path) -> None:
    assert complaints(written(tmp_path, b"targets:\n  - {name: caf\xe9}\n")) == [
        "exporter.yaml:2: the byte 0xe9 is not UTF-8 text. Save the file as UTF-8"
    ]
    assert complaints(written(tmp_path, ONE.encode("utf-16"))) == [
        "exporter.yaml:1: the byte 0xff is not UTF-8 text. Save the file as UTF-8"
    ]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load(written(tmp_path, ONE.encode("utf-8-sig"))).targets[0].name == "a"


def test_a_control_character_is_one_complaint_with_its_line(tmp_path: Path) -> None:
    assert complaints(written(tmp_path, ONE + "log: \x07\n")) == [
        (
            "exporter.yaml:3: there is a character that YAML does not allow. "
            "Remove the control character, or write it as an escape in quotes"
        )
    ]


@pytest.mark.slow
def test_five_thousand_targets_load(tmp_path: Path) -> None:
    targets = [
        {"name": f"t{number}", "host": f"10.0.{number // 250}.{number % 250}", "port": 4001} for number in range(5000)
    ]

    assert len(load(written(tmp_path, json.dumps({"targets": targets}))).targets) == 5000


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    text = ONE.replace("a,", "a, labels: &shared {desk: fx},") + "  - {name: b, host: h, port: 7497, labels: *shared}\n"

    assert [dict(target.labels) for target in load(written(tmp_path, text)).targets] == [{"desk": "fx"}] * 2


@pytest.mark.parametrize("text", ["targets: &all\n  - *all\n", "[" * 100_000, "- " * 100_000, "{?" * 100_000])
def test_a_value_that_contains_itself_or_has_no_end_of_brackets_is_one_complaint(tmp_path: Path, text: str) -> None:
    assert complaints(written(tmp_path, text)) == [
        "exporter.yaml:1: a value is nested too deep or contains itself. Remove the excess brackets, or the alias"
    ]


def test_a_complaint_is_one_line_that_is_safe_on_a_terminal(tmp_path: Path) -> None:
    [complaint] = complaints(written(tmp_path, ONE + 'log: {level: "\\e[2J\\n' + "x" * 10_000 + '"}\n'))

    assert complaint.isprintable()
    assert "\\x1b[2J\\n" in complaint
    assert len(complaint) < MAX_LINE + 20
    assert complaint.endswith("Write one of them")


WORDS = (
    "targets clients defaults web probe log name host port mode interval deadline slow_after api_versions address_family "
    "client_ids avoid_client_ids account watch launcher_log labels library python listen config_file allow level format "
    "x [key] targetz"
)
KEYS = st.sampled_from(WORDS.split())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["1s", "a", "h", "ib_async"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
TARGETS = st.fixed_dictionaries(
    {},
    optional={
        "targets": st.lists(st.dictionaries(KEYS, VALUES) | VALUES, max_size=3),
        "clients": VALUES,
        "log": VALUES,
    },
)


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "exporter.yaml"


@pytest.mark.slow
@settings(max_examples=3 * settings().max_examples)
@given(data=st.one_of(TARGETS, st.dictionaries(KEYS, VALUES), VALUES))
def test_whatever_the_document_it_loads_or_is_complained_of(one_file: Path, data: Any) -> None:
    one_file.write_text(yaml.safe_dump(data) if isinstance(data, float) else json.dumps(data), "utf-8")
    for problem in problems_of(lambda: load(one_file)):
        assert problem.message
        assert problem.remedy


@settings(max_examples=3 * settings().max_examples)
@given(st.text(max_size=60) | st.text("[]{}:,-\n \t#&*!|>'\"%@`?ab1", max_size=60))
def test_whatever_the_text_it_parses_or_is_complained_of(text: str) -> None:
    for problem in problems_of(lambda: parse(text, "x.yaml")):
        assert problem.line
