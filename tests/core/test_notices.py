"""What notices mean, by their codes and the name after the last colon; no other word counts."""

import pytest

from exporter.messages import ApiError, CurrentTime, ManagedAccounts, NextValidId
from exporter.model import Farm, FarmKind, SessionFacts
from exporter.notices import MOST_ERRORS, MOST_FARMS, completed, farm_name, heed

NOTHING = SessionFacts()


def notice(code: int, text: str = "", request: int = -1) -> ApiError:
    return ApiError(request, code, text)


def told(*notices: ApiError, before: SessionFacts = NOTHING) -> SessionFacts:
    for one in notices:
        before = heed(before, one)
    return before


@pytest.mark.parametrize("code", [1100, 2110])
def test_the_loss_of_the_servers_is_told_by_its_code(code: int) -> None:
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
    facts = heed(heed(heed(NOTHING, ManagedAccounts(("DU1234567",))), NextValidId(9)), CurrentTime(5))
    assert facts == SessionFacts(accounts=("DU1234567",), next_valid_id=9)


def test_account_numbers_are_in_no_repr() -> None:
    assert "DU1234567" not in repr(heed(NOTHING, ManagedAccounts(("DU1234567",))))


def test_facts_are_completed_by_others_only_where_they_say_nothing() -> None:
    up, down = told(notice(2104, ":a")), told(notice(1100), notice(2103, ":a"), notice(2103, ":b"))
    assert completed(NOTHING, down).upstream is False
    both = completed(up, down)
    assert both.upstream is True
    assert both.farms == (Farm(FarmKind.MARKET, "a", connected=True), Farm(FarmKind.MARKET, "b", connected=False))
