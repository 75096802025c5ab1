# SPDX-License-Identifier: Apache-2.0
"""A queue in which nobody waits for somebody else's backlog, whatever that somebody can vary."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.runtime.fair_queue import MAX_LANES_TRIED, FairQueue, Owner, owner_of

BYSTANDER = Owner("bystander", "bystanders")
STORM = 1000


def pushed(queue: FairQueue[str], item: str, owner: Owner, weight: int = 1) -> list[str]:
    return list(queue.push(item, owner, weight))


def popped(queue: FairQueue[str]) -> list[str]:
    found = []
    while (item := queue.pop()) is not None:
        found.append(item)
    return found


ATTACKS: dict[str, Callable[[int], Owner]] = {
    "one user in one cgroup": lambda _: Owner("attacker", "attackers"),
    "one user in many cgroups": lambda number: Owner("attacker", number),
    "many users in one cgroup": lambda number: Owner(number, "attackers"),
    "one user in the bystander's cgroup": lambda _: Owner("attacker", BYSTANDER.cgroup),
    "the bystander's user in another cgroup": lambda _: Owner(BYSTANDER.account, "attackers"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_bystander_has_his_turn_soon_in_a_storm(attack):
    queue: FairQueue[str] = FairQueue(2 * STORM)
    for number in range(STORM):
        pushed(queue, "storm", attack(number))
    pushed(queue, "bystander", BYSTANDER)

    assert popped(queue).index("bystander") < 8


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_is_discarded_is_not_the_bystanders(attack):
    queue: FairQueue[str] = FairQueue(STORM // 2)
    pushed(queue, "bystander", BYSTANDER)
    discarded = [item for number in range(STORM) for item in pushed(queue, "storm", attack(number))]
    discarded += pushed(queue, "bystander", BYSTANDER)

    assert discarded == ["storm"] * (STORM // 2 + 2)
    assert len(queue) == STORM // 2


def test_items_of_one_owner_stay_in_order():
    queue: FairQueue[str] = FairQueue(99)
    for number in range(9):
        pushed(queue, f"{number}", Owner(1, "x"))
        pushed(queue, f"other {number}", Owner(number % 3, "y"))

    assert [item for item in popped(queue) if "other" not in item] == [f"{number}" for number in range(9)]


def test_every_item_comes_out_once():
    queue: FairQueue[str] = FairQueue(999)
    for number in range(300):
        pushed(queue, f"{number}", Owner(number % 7, number % 11))

    assert sorted(popped(queue), key=int) == [f"{number}" for number in range(300)]
    assert (len(queue), queue.pop()) == (0, None)


def test_the_newest_of_the_longest_backlog_is_discarded():
    queue: FairQueue[str] = FairQueue(3)
    owner = Owner(1, "x")
    found = [pushed(queue, item, owner) for item in ("a", "b", "c", "d")]

    assert found == [[], [], [], ["d"]]
    assert popped(queue) == ["a", "b", "c"]


def test_the_limit_is_on_the_weight():
    queue: FairQueue[str] = FairQueue(10)

    assert pushed(queue, "a", Owner(1, "x"), 6) == []
    assert pushed(queue, "b", Owner(1, "x"), 6) == ["b"]
    assert queue.pop() == "a"
    assert pushed(queue, "c", Owner(1, "x"), 10) == []


def test_items_that_are_refused_stay():
    queue: FairQueue[str] = FairQueue(99)
    pushed(queue, "a", Owner(1, "x"))
    pushed(queue, "b", Owner(2, "y"))

    assert queue.pop(lambda item: item == "a") == "b"
    assert queue.pop(lambda item: item == "a") is None
    assert queue.pop() == "a"


def test_the_number_of_owners_that_are_tried_is_limited():
    queue: FairQueue[str] = FairQueue(999)
    for number in range(STORM // 2):
        pushed(queue, f"{number}", Owner(number, number))
    tried: list[str] = []

    def refuse(item: str) -> bool:
        tried.append(item)
        return True

    assert queue.pop(refuse) is None
    assert len(tried) <= 2 * MAX_LANES_TRIED


def test_an_owner_has_a_backlog_if_both_its_account_and_its_cgroup_have():
    queue: FairQueue[str] = FairQueue(99)
    pushed(queue, "a", Owner(1, "x"))

    assert queue.has_backlog_of(Owner(1, "x"))
    assert not queue.has_backlog_of(Owner(1, "y"))
    assert not queue.has_backlog_of(Owner(2, "x"))


def owner(uid: int | None, path: str | None = "/a") -> Owner:
    cgroup = None if path is None else record.Cgroup(path=path)
    user = None if uid is None else record.User(id=uid)
    return owner_of(kill(process=record.Process(user=user), cgroup=cgroup))


def test_users_are_told_apart_and_subordinate_ids_of_one_user_are_not():
    assert owner(1000) != owner(1001)
    assert owner(100_000) == owner(165_535)
    assert owner(100_000) != owner(165_536)
    assert owner(0) != owner(100_000)
    assert owner(None) == owner(None)


def test_cgroups_that_a_user_may_have_made_below_his_own_are_one():
    base = "/user.slice/user-1000.slice/user@1000.service"

    assert owner(1, f"{base}/a") == owner(1, f"{base}/b/c")
    assert owner(1, base) == owner(1, f"{base}/b")
    assert owner(1, "/user.slice/user-1000.slice") != owner(1, "/user.slice/user-1001.slice")
    assert owner(1, "/kubepods/burstable/pod1") != owner(1, "/kubepods/burstable/pod2")
    assert owner(1, None) == owner(1, None)
