# SPDX-License-Identifier: Apache-2.0
"""What a cause has killed before: the number, since when, and the largest."""

from __future__ import annotations

from support.explained import MIB
from support.explained_text import GLOBAL, MEMCG, case

from ooMtrace.explain import history
from ooMtrace.explain.history import History


def line(base=MEMCG, **facts):
    return case(base, **facts).facts._values


def held(size: int) -> dict[str, int]:
    return {"anon": size * MIB, "file": 0, "shmem": 0}


def test_kills_are_counted_since_the_first_with_the_largest():
    seen = History()
    first = seen.add(line(time="2026-11-28T09:00:00Z", process__memory=held(20)))
    second = seen.add(line(time="2026-11-28T10:00:00Z", process__memory=held(30)))
    third = seen.add(line(time="2026-11-28T11:00:00Z", process__memory=held(10)))
    fourth = seen.add(line())

    since = "since 2026-11-28 09:00:00 UTC; the largest held"
    assert first == ""
    assert second == f"1 earlier kill of this cause in these lines {since} 20.0 MiB"
    assert third == f"2 earlier kills of this cause in these lines {since} 30.0 MiB"
    assert fourth == f"3 earlier kills of this cause in these lines {since} 30.0 MiB"


def test_what_is_not_known_of_them_is_not_stated():
    seen = History()
    seen.add(line(process__memory=None))

    assert seen.add(line()) == "1 earlier kill of this cause in these lines"


def test_other_limits_other_hosts_and_what_is_no_kill_are_not_counted():
    seen = History()
    others = [line(GLOBAL), line(oom__memcg__path="/b"), line(host__name="h"), line(host__name="h2")]
    others += [line(event="oom_exit"), line(oom__scope=None), line(oom__memcg__path=None), line(oom__memcg__path=None)]

    assert [seen.add(one) for one in others] == [""] * len(others)
    assert seen.add(line()) == ""
    assert seen.add(line(GLOBAL)).startswith("1 earlier kill ")


def test_causes_that_killed_last_are_remembered(monkeypatch):
    monkeypatch.setattr(history, "MOST", 2)
    seen = History()
    for path in ("/a", "/b", "/a", "/c"):
        seen.add(line(oom__memcg__path=path))

    assert seen.add(line(oom__memcg__path="/a")).startswith("2 earlier kills ")
    assert seen.add(line(oom__memcg__path="/b")) == ""
