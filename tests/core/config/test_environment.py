import subprocess
import sys

import pytest

from exporter.config import ConfigError, Listen, from_environment, parse_endpoint, parse_listen, target_for_endpoint
from exporter.model import Mode
from exporter.verdict.actions import format_for
from exporter.verdict.steps import RESTART


def complaints(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_environment(environ)
    return [str(problem) for problem in caught.value.problems]


def test_one_target_is_read_from_the_variables_of_a_trading_program() -> None:
    config = from_environment(
        {
            "IB_HOST": "gateway",
            "IB_PORT": "4001",
            "IB_CLIENT_ID": "1",
            "IB_ACCOUNT_ID": "DU1234567",
            "IB_MARKET_DATA_TYPE": "DELAYED_FROZEN",
            "IB_MAX_CONNECTION_ATTEMPTS": "5",
        }
    )

    [target] = config.targets
    assert (target.name, target.host, target.port, target.mode) == ("gateway:4001", "gateway", 4001, Mode.LIVE)
    assert (target.client_ids, target.avoid_client_ids, target.account) == ((9001, 9002, 9003), (1,), "DU1234567")
    assert (config.source, config.listen) == ("environment", (Listen("127.0.0.1", 9497),))


def test_the_port_alone_means_this_machine() -> None:
    assert from_environment({"IB_PORT": "7497"}).targets[0].endpoint == "127.0.0.1:7497"


@pytest.mark.parametrize(
    ("used", "ours"),
    [
        (0, (9001, 9002, 9003)),
        (8996, (9001, 9002, 9003)),
        (8997, (9002, 9003, 9004)),
        (9001, (9006, 9007, 9008)),
        (9002, (9001, 9007, 9008)),
    ],
)
def test_our_ids_keep_away_from_the_trading_programs_and_the_four_it_may_move_to(
    used: int, ours: tuple[int, ...]
) -> None:
    assert from_environment({"IB_PORT": "7497", "IB_CLIENT_ID": str(used)}).targets[0].client_ids == ours


def test_an_empty_variable_counts_as_unset() -> None:
    environ = {"IB_HOST": "", "IB_PORT": " 7497 ", "IB_CLIENT_ID": "", "IB_ACCOUNT_ID": "", "IBKR_EXPORTER_LISTEN": ""}

    config = from_environment(environ)

    assert config.targets[0].endpoint == "127.0.0.1:7497"
    assert (config.targets[0].avoid_client_ids, config.targets[0].account, config.listen) == ((), None, (Listen(),))


def test_every_bad_variable_is_named_at_once() -> None:
    environ = {
        "IB_HOST": "http://gateway",
        "IB_PORT": "abc",
        "IB_CLIENT_ID": "one",
        "IB_ACCOUNT_ID": "my account",
        "IBKR_EXPORTER_LISTEN": "everywhere",
    }

    assert complaints(environ) == [
        'environment: IB_HOST: "http://gateway" is a URL, not a host. Give the host name or IP address alone',
        'environment: IB_PORT: "abc" is not a port. Give a whole number from 1 to 65535; paper TWS listens on 7497',
        (
            'environment: IB_CLIENT_ID: "one" is not a client id. '
            "Give the whole number that the trading program connects with, or leave it out"
        ),
        (
            'environment: IB_ACCOUNT_ID: "my account" is not an account number. '
            "Write it as TWS shows it, in capitals, such as DU1234567"
        ),
        (
            'environment: IBKR_EXPORTER_LISTEN: "everywhere" is not an address to listen on. '
            "Write HOST:PORT, such as 127.0.0.1:9497, or :9497"
        ),
    ]


@pytest.mark.parametrize("port", ["0", "65536", "-1", "7497.0", "٧٤٩٧", "9" * 5000])
def test_a_port_is_a_whole_number_in_its_bounds(port: str) -> None:
    [complaint] = complaints({"IB_PORT": port})

    assert complaint.startswith('environment: IB_PORT: "')
    assert complaint.endswith("paper TWS listens on 7497")


def test_a_client_id_is_no_larger_than_the_protocol_has_room_for() -> None:
    assert complaints({"IB_PORT": "7497", "IB_CLIENT_ID": "2147483648"}) == [
        "environment: IB_CLIENT_ID: 2147483648 is not a client id. Give a whole number from 0 to 2147483647"
    ]


def test_a_host_without_a_port_is_not_guessed_at() -> None:
    assert complaints({"IB_HOST": "gateway"}) == [
        (
            "environment: IB_PORT: is not set, though IB_HOST is. "
            "Set IB_PORT to the API's socket port; paper TWS listens on 7497"
        )
    ]


def test_nothing_at_all_is_answered_with_the_ways_there_are() -> None:
    assert complaints({"IB_CLIENT_ID": "1"}) == [
        (
            "nothing to watch is configured. Name a file with --config FILE, or set IB_PORT (and IB_HOST) in the environment. "
            "For one look: ibkr-exporter diagnose HOST:PORT. Without a gateway: ibkr-exporter demo"
        )
    ]


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:7497", ("127.0.0.1", 7497)),
        ("[::1]:7497", ("::1", 7497)),
        ("[fe80::1%eth0]:4002", ("fe80::1%eth0", 4002)),
        ("ib-gateway.example.net:65535", ("ib-gateway.example.net", 65535)),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gateway", 'the port in "gateway" is missing. Write HOST:PORT, for example 127.0.0.1:7497'),
        ("gateway:", 'the port in "gateway:" is missing. Write HOST:PORT, for example 127.0.0.1:7497'),
        ("[::1]", 'the port in "[::1]" is missing. Write HOST:PORT, for example 127.0.0.1:7497'),
        ("", 'the port in "" is missing. Write HOST:PORT, for example 127.0.0.1:7497'),
        (":7497", "the host is empty. Give a host name or an IP address, for example 127.0.0.1"),
        ("::1:7497", 'the IPv6 address in "::1:7497" has no brackets. Write an IPv6 address as [::1]:7497'),
        ("[::1:7497", 'the brackets in "[::1:7497" are not closed. Write an IPv6 address as [::1]:7497'),
        ("[::1]7497", 'the brackets in "[::1]7497" are not closed. Write an IPv6 address as [::1]:7497'),
        ("[x::y]:1", '"x::y" is not an IPv6 address. Write one as 2001:db8::1, or a host name'),
        ("tcp://gateway:1", '"tcp://gateway:1" is a URL, not a host. Give the host name or IP address alone'),
        ("my host:1", 'there is a space in the host "my host". Remove it'),
        ("gateway:0", '"0" is not a port. Give a whole number from 1 to 65535; paper TWS listens on 7497'),
        ("gateway:http", '"http" is not a port. Give a whole number from 1 to 65535; paper TWS listens on 7497'),
        ("10.0.0:1", '"10.0.0" is not an IPv4 address. Give four numbers from 0 to 255, for example 192.168.1.20'),
        ("a/b:1", '"a/b" is not a host name. Use letters, digits, hyphens and dots alone'),
    ],
)
def test_what_is_no_endpoint_is_complained_of(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(text)

    assert str(caught.value) == complaint


def test_a_host_name_is_judged_in_time_that_does_not_explode() -> None:
    with pytest.raises(ConfigError):
        parse_endpoint("a" * 60 + ".a" * 90 + "!:1")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9497", "127.0.0.1", 9497),
        ("[::]:9497", "::", 9497),
        (":9497", "", 9497),
        ("localhost:0", "localhost", 0),
    ],
)
def test_an_address_to_listen_on_may_leave_out_the_host(text: str, host: str, port: int) -> None:
    assert (parse_listen(text).host, parse_listen(text).port) == (host, port)


@pytest.mark.parametrize("text", ["9497", "127.0.0.1", ":70000", ":x", "[::]", "10.0.0.999:1"])
def test_what_cannot_be_listened_on_is_complained_of(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_listen(text)


def test_an_endpoint_alone_makes_a_target_that_is_named_after_it() -> None:
    target = target_for_endpoint("::1", 4001)

    assert (target.name, target.endpoint, target.mode) == ("[::1]:4001", "[::1]:4001", Mode.LIVE)
    assert (target.client_ids, target.clients, target.watch) == ((9001, 9002, 9003), (), False)


def test_a_port_that_does_not_tell_the_mode_leaves_it_unknown_and_the_advice_names_both() -> None:
    target = target_for_endpoint("gateway", 5000)
    assert target.mode is Mode.UNKNOWN
    assert "log in to the {mode} account" in RESTART
    assert "log in to the paper or live account" in format_for(RESTART, target)


def test_without_a_file_neither_pydantic_nor_yaml_is_imported() -> None:
    code = (
        "import sys; from exporter.config import from_environment; from_environment({'IB_PORT': '7497'}); "
        "sys.exit(bool({'pydantic', 'yaml'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
