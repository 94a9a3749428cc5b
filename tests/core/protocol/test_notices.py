"""What notices mean, by their codes and the name after the last colon; no other word counts."""

import pytest

from exporter.model import Farm, FarmKind, SessionFacts
from exporter.protocol.messages import ApiError, CurrentTime, ManagedAccounts, NextValidId
from exporter.protocol.notices import MOST_ERRORS, MOST_FARMS, apply_message, farm_name, fill_gaps, merge_newer

NOTHING = SessionFacts()


def notice(code: int, text: str = "", request: int = -1) -> ApiError:
    return ApiError(request, code, text)


def told(*notices: ApiError, before: SessionFacts = NOTHING) -> SessionFacts:
    for one in notices:
        before = apply_message(before, one)
    return before


@pytest.mark.parametrize("code", [1100, 2110])
def test_the_loss_of_the_servers_is_reported_by_its_code(code: int) -> None:
    facts = told(notice(code, "Alles in Ordnung"))
    assert facts.upstream is False
    assert facts.errors == (code,)


@pytest.mark.parametrize("code", [1101, 1102])
def test_the_servers_are_back_by_their_code(code: int) -> None:
    assert told(notice(1100), notice(code, "lost")).upstream is True


@pytest.mark.parametrize(
    ("code", "kind", "connected"),
    [
        (2103, FarmKind.MARKET, False),
        (2104, FarmKind.MARKET, True),
        (2105, FarmKind.HISTORICAL, False),
        (2106, FarmKind.HISTORICAL, True),
        (2107, FarmKind.HISTORICAL, True),
        (2108, FarmKind.MARKET, True),
        (2157, FarmKind.DEFINITIONS, False),
        (2158, FarmKind.DEFINITIONS, True),
    ],
)
def test_a_farm_is_told_by_its_code(code: int, kind: FarmKind, connected: bool) -> None:  # noqa: FBT001
    assert told(notice(code, "whatever: it says:usfarm")).farms == (Farm(kind, "usfarm", connected=connected),)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Market data farm connection is OK:usfarm.nj", "usfarm.nj"),
        ("Sec-def data farm connection is broken:secdefil", "secdefil"),
        ("La connexion est rompue : euhmds", "euhmds"),
        ("a:b:usopt ", "usopt"),
        ("usfarm", "usfarm"),
        ("", "unnamed"),
        ("farm:", "unnamed"),
        ('farm:a"b\n', "unnamed"),
        ("farm:two words", "unnamed"),
        ("HMDS data farm connection is inactive but should be available upon demand.ushmds", "ushmds"),
        ("Market data farm connection is inactive but should be available upon demand.usfarm.nj", "usfarm.nj"),
        ("Market data farm connection is inactive but should be available upon demand: usfuture", "usfuture"),
        ("no name at all.", "unnamed"),
        ("farm:" + "x" * 41, "unnamed"),
        ("farm:ü", "unnamed"),
    ],
)
def test_a_farms_name_is_what_follows_the_last_colon_if_it_is_a_name(text: str, name: str) -> None:
    assert farm_name(text) == name


def test_a_farm_that_comes_back_replaces_itself_and_leaves_the_others() -> None:
    facts = told(notice(2104, ":usfarm"), notice(2103, ":usfarm"), notice(2106, ":usfarm"), notice(2104, ":usfarm"))
    assert facts.farms == (
        Farm(FarmKind.HISTORICAL, "usfarm", connected=True),
        Farm(FarmKind.MARKET, "usfarm", connected=True),
    )


def test_a_farm_that_answers_shows_the_link_but_not_right_after_its_loss() -> None:
    assert told(notice(2104, ":usfarm")).upstream is True
    assert told(notice(2103, ":usfarm")).upstream is None
    assert told(notice(1100), notice(2104, ":usfarm")).upstream is False


def test_what_was_disconnected_is_forgotten_when_the_link_is_back() -> None:
    facts = told(notice(2104, ":a"), notice(2103, ":b"), notice(1100), notice(1102))
    assert facts.farms == (Farm(FarmKind.MARKET, "a", connected=True),)


@pytest.mark.parametrize("code", [2100, 2119, 2137, 2169])
def test_other_warnings_tell_nothing(code: int) -> None:
    assert told(notice(code, "Market data farm is connecting:usfarm")) == NOTHING


def test_errors_are_kept_once_each_and_not_without_end() -> None:
    assert told(notice(321), notice(321), notice(10197)).errors == (321, 10197)
    assert len(told(*(notice(code) for code in range(100, 200))).errors) == MOST_ERRORS


def test_farms_are_bounded_and_disconnected_ones_stay() -> None:
    many = [notice(2104, f":farm{number}") for number in range(500)]
    facts = told(notice(2103, ":broken"), *many)
    assert len(facts.farms) == MOST_FARMS
    assert Farm(FarmKind.MARKET, "broken", connected=False) in facts.farms


def test_the_accounts_and_the_order_id_are_facts_and_the_time_is_not() -> None:
    facts = apply_message(
        apply_message(apply_message(NOTHING, ManagedAccounts(("DU1234567",))), NextValidId(9)), CurrentTime(5)
    )
    assert facts == SessionFacts(accounts=("DU1234567",), next_valid_id=9)


def test_account_numbers_are_in_no_repr() -> None:
    assert "DU1234567" not in repr(apply_message(NOTHING, ManagedAccounts(("DU1234567",))))


def test_facts_are_completed_by_others_only_where_they_say_nothing() -> None:
    up, down = told(notice(2104, ":a")), told(notice(1100), notice(2103, ":a"), notice(2103, ":b"))
    assert fill_gaps(NOTHING, down).upstream is False
    assert fill_gaps(NOTHING, down).errors == (1100,)
    both = fill_gaps(up, told(notice(2105, ":c"), before=down))
    assert both.upstream is True
    assert both.errors == ()
    assert both.farms == (Farm(FarmKind.HISTORICAL, "c", connected=False), Farm(FarmKind.MARKET, "a", connected=True))


def test_a_farm_that_a_list_of_its_kind_no_longer_names_is_no_more() -> None:
    renamed = fill_gaps(told(notice(2104, ":usfarm.nj")), told(notice(2103, ":usfarm")))
    assert renamed.farms == (Farm(FarmKind.MARKET, "usfarm.nj", connected=True),)


def test_a_farm_that_fell_idle_is_not_disconnected_any_more_whatever_stands_before_its_name() -> None:
    facts = told(notice(2105, "broken:ushmds"), notice(2107, "inactive but should be available upon demand.ushmds"))
    assert facts.farms == (Farm(FarmKind.HISTORICAL, "ushmds", connected=True),)


def test_only_new_messages_of_a_session_change_what_others_know() -> None:
    before = told(notice(2103, ":old"), notice(2104, ":a"), notice(1100))
    known = told(notice(2104, ":new"))
    assert merge_newer(known, before, before) == known
    after = merge_newer(known, before, told(notice(2103, ":a"), before=before))
    assert after.upstream is True
    assert [(farm.name, farm.connected) for farm in after.farms] == [("a", False), ("new", True)]
    assert merge_newer(NOTHING, NOTHING, before) == before


def test_the_return_of_the_link_clears_what_was_disconnected_and_the_errors_of_its_loss() -> None:
    lost = told(notice(2103, ":a"), notice(1100))
    known = told(notice(2103, ":a"), notice(2105, ":b"), notice(1100), notice(321))
    back = merge_newer(known, lost, told(notice(1101), before=lost))
    assert (back.upstream, back.farms, back.errors) == (True, (), (321, 1101))


@pytest.mark.parametrize("code", [0, -1, 1_000_000, 1 << 62])
def test_a_number_that_no_error_has_is_no_error(code: int) -> None:
    assert told(notice(code)) == NOTHING


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("this connection is being dropped. Please reconnect on the new port - 4005", 4005),
        ("... on the new port -4002", 4002),
        ("neuer Port: 7497.", 7497),
        ("from 7497 to 7499", 7499),
        ("", None),
        ("on the new port - <port_num>", None),
        ("port 0", None),
        ("port 65536", None),
        ("port " + "9" * 400, None),
        ("port ٤٠٠٢", None),
    ],
)
def test_the_new_port_is_the_last_number_that_error_1300_tells(text: str, port: int | None) -> None:
    assert told(notice(1300, text)).new_port == port
    assert told(notice(1300, text)).errors == (1300,)
    assert told(notice(321, text)).new_port is None


def test_the_farms_of_two_gateways_are_one_value_in_memory() -> None:
    notices = [ApiError(-1, 2104, "Market data farm connection is OK:usfarm"), ApiError(-1, 2106, "OK:ushmds")]
    first, second = SessionFacts(), SessionFacts(client_id=9001)
    for notice in notices:
        first, second = apply_message(first, notice), apply_message(second, notice)
    assert first.farms == (
        Farm(FarmKind.HISTORICAL, "ushmds", connected=True),
        Farm(FarmKind.MARKET, "usfarm", connected=True),
    )
    assert first.farms is second.farms
