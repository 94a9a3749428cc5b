"""Lists of discovered targets: their shape, what a label means, what a list may not do, and the merge."""

import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import ConfigError, load
from exporter.config.addresses import is_forbidden
from exporter.config.checks import InvalidValue
from exporter.config.discovered import KEYS, LONGEST, MOST_LABELS, Discovered, resolve_entries
from exporter.config.merge_targets import merge_targets
from exporter.config.target_groups import LARGEST, MOST_ENTRIES, Entry, parse_list
from exporter.config.types import NO_RULES, TargetRules
from exporter.metrics.exposition import exposition
from exporter.model import Mode, Target
from exporter.state.target import TargetState

# Every one changes nothing: an answer is refused as a whole, and says why.
BROKEN_LISTS = [
    b"",
    b"[",
    b"{}",
    b"null",
    b"5",
    b'"x"',
    b"[5]",
    b"[[]]",
    b"[null]",
    b'[{"targets": 5}]',
    b'[{"targets": "10.0.0.1:7497"}]',
    b'[{"targets": [null]}]',
    b'[{"targets": [["10.0.0.1:7497"]]}]',
    b'[{"targets": ["10.0.0.1:7497"], "labels": []}]',
    b'[{"targets": ["10.0.0.1:7497"], "labels": "x"}]',
    b'[{"targets": ["10.0.0.1:7497"], "labels": {"a": ["b"]}}]',
    b'[{"targets": ["10.0.0.1:7497"], "labels": {"a": {}}}]',
    b'[{"target": ["10.0.0.1:7497"]}]',
    b'[{"targets": [], "lables": {}}]',
    b'[{"targets": ["10.0.0.1:7497"]}] x',
    b'[{"targets": ["10.0.0.1:7497"],}, 5]',
    b"\xff\xfe[]",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"<html><script>alert(1)</script></html>",
    b"[\0]",
    b'[{"targets": ["10.0.0.1:7497\xff"]}]',
]
BROKEN_JSON = [
    *BROKEN_LISTS,
    b'[{"targets": [5]}]',
    b'[{"targets": ["10.0.0.1:7497"], "labels": {"a": 5}}]',
    b'[{"targets": ["10.0.0.1:7497"], "labels": {"a": null}}]',
    b"[" + b"9" * 5000 + b"]",
    b"- targets: [a]",
    b"[{'targets': []}]",
]
BROKEN_YAML = [
    *BROKEN_LISTS,
    b"- targets: [a:1]\n- &a [*a]",
    b"- targets: !!python/object/apply:os.system [x]",
    b"--- []\n--- []",
    b"a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n",
    b"- {targets: [a:1], targets: [b:1]}",
]


def entries(*addresses: str, **labels: str) -> tuple[Entry, ...]:
    return tuple(Entry("x.json", f"[{index}]", address, labels) for index, address in enumerate(addresses))


def resolved(found: tuple[Entry, ...], rules: TargetRules = NO_RULES, before: Discovered | None = None) -> Discovered:
    return resolve_entries(found, rules, before.targets if before else {})


def only(found: Discovered) -> Target:
    assert found.problems == ()
    [target] = found.targets.values()
    return target


def problem(found: Discovered) -> str:
    [text] = map(str, found.problems)
    return text


@pytest.mark.parametrize("raw", BROKEN_JSON)
def test_a_list_of_another_shape_is_refused_whole_in_json(raw: bytes) -> None:
    with pytest.raises(InvalidValue):
        parse_list(raw, "x", is_json=True)


@pytest.mark.parametrize("raw", BROKEN_YAML)
def test_a_list_of_another_shape_is_refused_whole_in_yaml(raw: bytes) -> None:
    with pytest.raises(InvalidValue):
        parse_list(raw, "x", is_json=False)


@pytest.mark.slow
def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(InvalidValue, match="too deep"):
        parse_list("\n".join(lines).encode(), "x", is_json=False)


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidValue, match="bytes"):
        parse_list(b"[" + b" " * LARGEST + b"]", "x", is_json=True)
    many = json.dumps([{"targets": ["a:1"] * (MOST_ENTRIES + 1)}]).encode()
    with pytest.raises(InvalidValue, match="more than 20000 targets"):
        parse_list(many, "x", is_json=True)


def test_both_formats_give_the_same_and_yaml_reads_every_value_as_text() -> None:
    groups = [{"targets": ["a:1", "b:2"], "labels": {"n": "1.50", "b": "yes"}}, {"targets": []}, {"labels": None}]
    text = b"- targets: [a:1, b:2]\n  labels: {n: 1.50, b: yes}\n- targets: []\n- labels:\n"

    found = parse_list(json.dumps(groups).encode(), "x", is_json=True)

    assert found == parse_list(text, "x", is_json=False)
    assert [(entry.place, entry.address, entry.labels["n"]) for entry in found] == [
        ("[0].targets[0]", "a:1", "1.50"),
        ("[0].targets[1]", "b:2", "1.50"),
    ]


def test_a_target_is_named_after_its_address_and_has_the_defaults_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yaml"
    path.write_text(
        "file_sd_configs: [{files: [x.json]}]\nclients: {lib: {library: ib_async}}\n"
        "defaults: {interval: 30s, deadline: 3s, region: europe}\n"
    )
    rules = load(path).rules

    target = only(resolved(entries("gateway-1.example.org:4001"), rules))

    assert (target.name, target.endpoint, target.mode) == (("gateway-1.example.org:4001",) * 2 + (Mode.LIVE,))
    assert (target.interval, target.deadline, target.clients) == (30.0, 3.0, ("lib",))
    assert target.windows == rules.defaults.windows
    assert (target.client_ids, target.watch, target.discovered) == ((9001, 9002, 9003), True, True)
    assert only(resolved(entries("[2001:db8::1]:7497"))).name == "[2001:db8::1]:7497"


def test_a_param_label_sets_the_key_of_its_name_and_the_others_are_labels() -> None:
    labels = {
        "name": "paper-1",
        "mode": "live",
        "interval": "30s",
        "deadline": "2",
        "slow_after": "500ms",
        "api_versions": "100..178",
        "address_family": "ipv4",
        "client_ids": "9101, 9102",
        "avoid_client_ids": "1,2",
        "account": "DU1234567",
        "clients": "none",
        "watch": "false",
        "download": "true",
        "download_interval": "10m",
        "settings": "TRUE",
        "region": "asia_pacific",
        "restart_time": "23:45",
        "restart_timezone": "America/New_York",
        "restart_length": "2m",
    }
    assert set(labels) == set(KEYS)
    params = {f"__param_{key}": value for key, value in labels.items()}

    target = only(
        resolved(entries("10.0.0.1:5000", desk="rates", __meta_x="y", __scrape_interval__="1s", none="", **params))
    )

    assert (target.name, target.mode, target.interval, target.deadline) == ("paper-1", Mode.LIVE, 30.0, 2.0)
    assert (target.client_ids, target.avoid_client_ids, target.account) == ((9101, 9102), (1, 2), "DU1234567")
    assert (target.watch, target.download, target.settings, target.download_interval) == (False, True, True, 600.0)
    assert (target.slow_after, target.hello.maximum, target.address_family.value) == (0.5, 178, "ipv4")
    assert "restart" in {window.name for window in target.windows}
    assert dict(target.labels) == {"desk": "rates"}


def test_without_client_ids_port_and_handshake_alone_are_probed() -> None:
    target = only(resolved(entries("10.0.0.1:7497", __param_client_ids="none")))

    assert (target.client_ids, target.watch) == ((), False)


@pytest.mark.parametrize(
    ("address", "labels", "text"),
    [
        ("10.0.0.1", {}, 'x.json: [0]: the port in "10.0.0.1" is missing'),
        ("10.0.0.1:99999", {}, "is not a port"),
        ("http://10.0.0.1:7497", {}, "is a URL"),
        ("", {}, "is missing"),
        ("a b:1", {}, "there is a space"),
        ("<script>:1", {}, "is not a host name"),
        ("a\nb:1", {}, "there is a space"),
        ("10.0.0.1:7497", {"name": "a b"}, 'x.json: [0] __param_name: "a b" is not a name'),
        ("10.0.0.1:7497", {"name": "<b>"}, "is not a name"),
        ("10.0.0.1:7497", {"name": "x" * 65}, "is not a name"),
        ("10.0.0.1:7497", {"name": ".."}, 'x.json: [0] __param_name: ".." is not a name'),
        ("10.0.0.1:7497", {"name": "."}, "is not a name"),
        ("10.0.0.1:7497", {"name": "a/b"}, "is not a name"),
        ("10.0.0.1:7497", {"name": "%2e%2e"}, "is not a name"),
        ("10.0.0.1:7497", {"account": "hello"}, "__param_account"),
        ("10.0.0.1:7497", {"client_ids": "0"}, "client id 0 is never used"),
        ("10.0.0.1:7497", {"client_ids": "9001,x"}, "is not a list of client ids"),
        ("10.0.0.1:7497", {"client_ids": "1", "avoid_client_ids": "1"}, "would throw the trading program off"),
        ("10.0.0.1:7497", {"clients": "nothing"}, 'there is no client "nothing"'),
        ("10.0.0.1:7497", {"watch": "yes"}, '"yes" is not true or false'),
        ("10.0.0.1:7497", {"mode": "demo"}, "is not one of paper or live"),
        ("10.0.0.1:7497", {"interval": "0.1s"}, "is too short"),
        ("10.0.0.1:7497", {"deadline": "60s"}, "is not shorter than the interval"),
        ("10.0.0.1:7497", {"region": "moon"}, "is not one of"),
        ("10.0.0.1:7497", {"restart_time": "23:45"}, "restart_timezone"),
        ("10.0.0.1:7497", {"restart_time": "23:45", "restart_timezone": "../../etc/passwd"}, "is not a time zone"),
    ],
)
def test_an_entry_with_a_fault_is_left_out_alone(address: str, labels: Mapping[str, str], text: str) -> None:
    bad = Entry("x.json", "[0]", address, {f"__param_{key}": value for key, value in labels.items()})
    good = Entry("x.json", "[1]", "10.0.0.2:7497", {})

    found = resolved((bad, good))

    assert [target.name for target in found.targets.values()] == ["10.0.0.2:7497"]
    assert (text in problem(found), found.rejected) == (True, 1), found.problems


def test_an_address_that_a_list_has_twice_is_one_target_and_reported_where_the_labels_differ() -> None:
    first, same = Entry("x.json", "[0]", "10.0.0.1:7497", {}), Entry("x.json", "[1]", "10.0.0.1:7497", {})
    other = Entry("x.json", "[2]", "10.0.0.1:7497", {"__param_account": "DU1234567"})

    alike, found = resolved((first, same)), resolved((first, same, other))

    assert (len(alike.targets), alike.rejected, alike.problems) == (1, 0, ())
    assert [target.account for target in found.targets.values()] == [None]
    assert (found.rejected, problem(found).startswith("x.json: [2]: the list names this gateway before")) == (1, True)


def test_an_entry_with_a_fault_leaves_the_target_that_it_was() -> None:
    before = resolved(entries("10.0.0.1:7497", __param_account="DU1234567"))

    found = resolved(entries("10.0.0.1:7497", __param_account="nonsense"), before=before)

    assert list(found.targets.values()) == list(before.targets.values())
    assert found.rejected == 1


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[::169.254.169.254]",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[::ffff:100.100.100.200]",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
        "240.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "10.0.0.1.",
        "a.0xa9fea9fe",
        "[2001:db8::1%<script>]",
        "[2001:db8::1%eth0]",
    ],
)
def test_no_list_may_name_a_forbidden_address_in_whatever_spelling(host: str) -> None:
    found = resolved(entries(f"{host}:7497"))

    assert (dict(found.targets), found.rejected) == ({}, 1)


def test_where_networks_are_allowed_to_probe_a_list_may_name_no_other_address_and_no_name() -> None:
    rules = replace(NO_RULES, networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
    named = entries("10.1.2.3:1", "11.0.0.1:1", "[fd00::1]:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1", "gateway:1")

    found = resolved(named, rules)

    assert [target.host for target in found.targets.values()] == ["10.1.2.3", "fd00::1", "10.0.0.1"]
    assert all("is no address in a network of probe.allow" in str(text) for text in found.problems)


def test_this_machine_may_be_named() -> None:
    found = resolved(entries("127.0.0.1:7497")), resolved(entries("[::1]:7497"))

    assert [len(each.targets) for each in found] == [1, 1]


@given(st.ip_addresses())
def test_every_address_is_forbidden_or_not_also_where_it_is_within_an_ipv6_one(address: Any) -> None:
    if address.version == 4:
        assert is_forbidden(ip_address(f"::ffff:{address}")) == is_forbidden(address)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("a-b", "x", "this is not a label name"),
        ("1a", "x", "this is not a label name"),
        ('a"} 1\nibkr_up{x="', "x", "this is not a label name"),
        ("größe", "x", "this is not a label name"),
        ("target", "x", "has this label itself"),
        ("job", "x", "has this label itself"),
        ("long", "x" * (LONGEST + 1), "the value has more than 256 characters"),
        ("x" * (LONGEST + 1), "x", "the name has more than 256 characters"),
        ("half", "\ud800", "surrogate"),
        ("__param_acount", "DU1234567", 'Did you mean "account"?'),
        ("__param_launcher_log", "/etc/passwd", "a target has no such key"),
        ("__param_host", "10.0.0.9", "a target has no such key"),
    ],
)
def test_a_label_that_a_target_may_not_have_is_left_out_and_the_target_stays(name: str, value: str, text: str) -> None:
    found = resolved((Entry("x.json", "[0]", "10.0.0.1:7497", {name: value, "desk": "rates"}),))

    [target] = found.targets.values()
    assert dict(target.labels) == {"desk": "rates"}
    assert (text in problem(found), found.rejected) == (True, 0), found.problems


def test_the_names_of_labels_are_bounded_over_the_whole_list() -> None:
    many = tuple(Entry("x", "", f"10.0.0.{n}:1", {f"label_{n}": "x", "common": "y"}) for n in range(100))

    found = resolved(many)

    names = {name for target in found.targets.values() for name in target.labels}
    assert (len(found.targets), len(names)) == (100, MOST_LABELS)


@given(st.text(max_size=LONGEST))
def test_whatever_a_label_holds_the_metrics_stay_metrics(value: str) -> None:
    targets = resolved((Entry("x", "", "10.0.0.1:1", {"desk": value, "ok": "1"}),)).targets.values()

    text = "".join(exposition([TargetState(target) for target in targets], 0.0))

    text.encode()
    [line] = [line for line in text.split("\n") if line.startswith("ibkr_target_info{")]
    assert line.endswith('ok="1"} 1')


def named(name: str, host: str = "10.0.0.1", ids: tuple[int, ...] = (9001,)) -> Target:
    return Target(name, host, 7497, Mode.PAPER, client_ids=ids)


def test_a_target_of_the_file_comes_before_a_discovered_one_of_its_name() -> None:
    written, other = named("a"), named("a", "10.0.0.2")

    merged = merge_targets([written], {"file_sd_configs[0]": [other, named("b", "10.0.0.3")]}, ())

    assert merged.targets == (written, named("b", "10.0.0.3"))
    [text] = merged.left_out["file_sd_configs[0]"]
    assert text.startswith("10.0.0.2:7497: there is a target named a in the configuration file")


def test_a_gateway_that_two_lists_name_is_probed_once_and_reported_where_they_differ() -> None:
    one, again, other = named("a"), named("a"), named("b", ids=(9001, 9002))

    merged = merge_targets([], {"one": [one], "two": [again, other, named("c", ids=(9005,))]}, ())

    assert [target.name for target in merged.targets] == ["a", "c"]
    assert list(merged.left_out) == ["two"]
    assert "the target a probes the same gateway with the same client ids" in merged.left_out["two"][0]


def test_a_target_that_stays_as_it_was_is_the_very_object_that_it_was() -> None:
    before = named("a")

    [target] = merge_targets([named("a")], {}, [before]).targets

    assert target is before


def test_a_broken_section_of_the_configuration_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yaml"
    path.write_text(
        """file_sd_configs:
- {files: [a/*/b.json]}
- {files: [targets.txt]}
- {files: []}
http_sd_configs:
- {url: 'ftp://x/y'}
- {url: 'http://user:hunter2@x/y'}
- {url: 'http://x/y', basic_auth: {username: a}, authorization: {credentials: b}}
- {url: 'http://x/y', basic_auth: {usrname: a}}
- {url: 'http://x/y', authorization: {type: basic, credentials: b, credentials_file: c}}
- {url: 'http://x/y', tls_config: {cert_file: a}}
- {url: 'http://x/y', http_headers: {Authorization: {values: [a]}}}
- {url: 'http://x/y', http_headers: {X-A: {value: [a]}}}
- {url: 'http://x/y', http_headers: {X-A: {values: ["a\\nb"]}}}
- {url: 'http://x/y', refresh_interval: 0}
"""
    )

    with pytest.raises(ConfigError) as caught:
        load(path)

    found = [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems]
    assert [text.partition(": ")[0] for text in found] == [
        str(n) for n in (2, 3, 4, 6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 15)
    ]
    assert "hunter2" not in "".join(found)
    assert found[6].endswith('basic_auth.usrname: unknown key. Did you mean "username"?')
    assert found[11].endswith('http_headers.X-A.value: unknown key. Did you mean "values"?')
