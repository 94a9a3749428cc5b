import pytest

from exporter.model import Mode, Target
from exporter.service.open_files import budget, limit_watches, shortfall


def targets(number: int, *, watch: bool = True) -> tuple[Target, ...]:
    return tuple(
        Target(f"t{index}", "127.0.0.1", 7000 + index, Mode.PAPER, client_ids=(9001, 9002), watch=watch)
        for index in range(number)
    )


@pytest.mark.parametrize("permitted", [8, 20, 64, 256, 1024, 4096, 65_536])
def test_the_shares_are_never_more_than_there_is_and_leave_something_to_each(permitted: int) -> None:
    shares = budget(permitted)
    assert shares.probes + shares.watches + 2 * shares.http < permitted
    assert min(shares.probes, shares.watches, shares.http) >= 1


def test_a_thousand_watched_targets_lack_nothing_where_the_limit_is_high() -> None:
    assert shortfall(budget(65_536), targets(1000)) == 0
    assert limit_watches(targets(1000), budget(65_536).watches) == targets(1000)


def test_what_is_lacking_counts_the_probes_and_the_watches() -> None:
    shares = budget(64)
    assert (shares.probes, shares.watches) == (16, 16)
    assert shortfall(shares, targets(16)) == 0
    assert shortfall(shares, targets(17, watch=False)) == 1
    assert shortfall(shares, targets(17)) == 2


def test_only_the_first_targets_are_watched_and_the_others_are_still_probed() -> None:
    some = (*targets(2, watch=False), *targets(5)[2:])
    kept = limit_watches(some, 2)
    assert [target.name for target in kept] == [target.name for target in some]
    assert [target.watch_id for target in kept] == [None, None, 9002, 9002, None]
    assert kept[4].probe_ids == (9001, 9002)
