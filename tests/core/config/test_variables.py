"""Variables and values in files of their own."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import ConfigError, load
from exporter.config.checks import InvalidValue
from exporter.config.variables import expand

SECRET = "hunter2-hunter2"  # noqa: S105 - of no account


def complaints(path: Path, environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    return [str(problem).removeprefix(f"{path.parent}{os.sep}") for problem in caught.value.problems]


def written(folder: Path, text: str) -> Path:
    path = folder / "exporter.yaml"
    path.write_text(text)
    return path


def test_a_variable_is_a_value_of_the_kind_that_its_key_takes(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
targets:
  - name: ${NAME}
    host: gateway-${NUMBER}.example.org
    port: ${PORT}
    interval: ${SECONDS}
    watch: "${WATCH}"
    client_ids: ["${ID}", 9002]
    labels: {desk: "${DESK}", price: $$5 or $6}
""",
    )
    environ = {
        "NAME": "123",
        "NUMBER": "7",
        "PORT": "5000",
        "SECONDS": "30",
        "WATCH": "false",
        "ID": "9005",
        "DESK": "true",
    }

    [target] = load(path, environ).targets

    assert (target.name, target.host, target.port) == ("123", "gateway-7.example.org", 5000)
    assert (target.interval, target.watch, target.client_ids) == (30.0, False, (9005, 9002))
    assert dict(target.labels) == {"desk": "true", "price": "$5 or $6"}


def test_what_a_variable_holds_is_one_value_and_never_structure(tmp_path: Path) -> None:
    path = written(tmp_path, "targets:\n- {name: a, host: h, port: 7497, labels: {desk: '${X}'}}\n")
    value = "x}}\n- {name: b, host: h, port: 1}\n# ${X} !!python"

    config = load(path, {"X": value})

    assert [dict(target.labels) for target in config.targets] == [{"desk": value}]


def test_a_variable_that_is_not_set_is_named_once_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "targets:\n- name: a\n  host: ${HOST}\n  port: ${PORT}\n  clients: ['${CLIENT}']\n  labels: {desk: '${ not}'}\n",
    )

    assert complaints(path, {"HOST": ""}) == [
        "exporter.yaml:3: targets[0].host: the environment variable HOST is empty. Set HOST, or write the value here",
        "exporter.yaml:4: targets[0].port: the environment variable PORT is not set. Set PORT, or write the value here",
        (
            "exporter.yaml:5: targets[0].clients[0]: the environment variable CLIENT is not set. "
            "Set CLIENT, or write the value here"
        ),
        (
            "exporter.yaml:6: targets[0].labels.desk: ${ begins no variable. "
            "Write ${NAME} with letters, digits and underscores, or $$ for a dollar sign"
        ),
    ]


def test_a_value_that_does_not_fit_is_shown_as_it_is_written_not_as_it_is(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "targets:\n- name: ${S}\n  host: http://${S}\n  port: ${S}\n  account: ${S}\n  interval: ${S}\n"
        "  mode: ${S}\n  labels: {a: b}\nclients: {c: {library: '${S}'}}\n",
    )

    found = complaints(path, {"S": f"{SECRET} x"})

    assert len(found) == 7
    assert SECRET not in "".join(found)
    assert 'exporter.yaml:4: targets[0].port: the text "${S}" is not a whole number' in "".join(found)


@given(st.text())
def test_a_text_with_every_dollar_doubled_is_that_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {}) == text


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), st.text(min_size=1)))
def test_a_value_is_put_in_as_it_is_and_not_read_again(environ: dict[str, str]) -> None:
    text = "".join(f"${{{name}}}|" for name in environ)

    assert expand(text, environ) == "".join(f"{value}|" for value in environ.values())


@pytest.mark.parametrize("text", ["${", "${}", "${a-b}", "${1}", "a ${X", "${ X}"])
def test_braces_that_name_no_variable_are_a_fault(text: str) -> None:
    with pytest.raises(InvalidValue, match="begins no variable"):
        expand(text, {"X": "x", "a": "a"})


FILE = "targets:\n- {name: a, host: h, port: 7497, account_file: run/account}\n"


def test_an_account_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "account").write_text("DU1234567\n")

    config = load(written(tmp_path, FILE))

    assert config.targets[0].account == "DU1234567"
    assert set(config.files) == {tmp_path / "exporter.yaml", tmp_path / "run" / "account"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty. Write the value into the file"),
        (b"\n \n", "is empty. Write the value into the file"),
        (b"\xff", "is not UTF-8 text. Save the file as UTF-8"),
        (SECRET.encode(), "does not hold an account number. Write it as TWS shows it, in capitals, such as DU1234567"),
        (b"D" * 70_000, "has more than 65536 bytes. Name the file that holds the value alone"),
        (None, ": there is no such file. Write the file, or mount it"),
    ],
)
def test_a_file_that_holds_no_account_is_named_and_what_is_in_it_is_not(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path, account = written(tmp_path, FILE), tmp_path / "run" / "account"
    account.parent.mkdir()
    if content is not None:
        account.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(path)

    [problem] = caught.value.problems
    assert (problem.line, problem.path) == (2, "targets[0].account_file")
    assert f"{problem.message}. {problem.remedy}" == f"{account}{'' if content is None else ' '}{fault}"
    assert account in caught.value.files, "it is followed: the configuration is read again when it changes"


def test_an_account_is_written_in_one_place_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "account").write_text("DU1234567")

    found = complaints(written(tmp_path, FILE.replace("h, port", "h, account: DU1234567, port")), {})

    assert found == [
        "exporter.yaml:2: targets[0].account_file: account and account_file are both written. Keep one of them"
    ]
