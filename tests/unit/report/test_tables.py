# SPDX-License-Identifier: Apache-2.0
"""What the tables of the page say about a few kills whose numbers can be added up by hand."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

import pytest
from support.explained import changed, line

from ooMtrace.report.aggregate import Aggregate
from ooMtrace.report.page import page
from ooMtrace.report.rest import Source
from ooMtrace.report.seen import Seen

MIB = 1 << 20


class Tables(HTMLParser):
    """The text of the cells of each table, by its caption, and of each section, by its id."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.sections: dict[str, str] = {}
        self._in = ""
        self._caption = self._section = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag if tag in ("caption", "th", "td") else self._in
        if tag == "h2":
            self._section = dict(attrs)["id"] or ""
        elif tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self.rows[self._caption].append([])
        elif tag in ("th", "td"):
            self.rows[self._caption][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self.rows[self._caption] = []
        self._in = "" if tag == self._in else self._in

    def handle_data(self, data: str) -> None:
        self.sections[self._section] = self.sections.get(self._section, "") + data
        if self._in == "caption":
            self._caption += data
        elif self._in:
            self.rows[self._caption][-1][-1] += data


def tables_of(lines: Iterable[dict[str, Any]], files: Iterable[Source] = (Source("a.log", 1),)) -> Tables:
    found = Aggregate()
    for each in lines:
        found.add(each)
    return Tables(page(found, tuple(files)).decode())


def kill(number: int, workload: str = "web", time: str = "2026-03-01T10:00:00Z", **facts: Any) -> dict[str, Any]:
    """Return a kill of a unit at its limit of 100 MiB: 60 MiB anonymous, 20 MiB files, 10 MiB shared, 10 MiB swap."""
    memory = {"anon": 60 * MIB, "file": 20 * MIB, "shmem": 10 * MIB, "swap": 10 * MIB, "page_tables": 0}
    path = f"/{workload}.service"
    known = {
        "id": str(number),
        "time": time,
        "cgroup.path": path,
        "systemd.unit": f"{workload}.service",
        "oom.incident": str(number),
        "oom.limit_owner": "unit",
        "oom.memcg": {"path": path, "limit": 100 * MIB, "usage": 100 * MIB, "swap": 10 * MIB},
        "process.memory": memory,
    }
    return changed("too-small", known | {name.replace("__", "."): value for name, value in facts.items()})


LINES = [
    kill(1, time="2026-03-01T10:00:00Z"),
    kill(2, time="2026-03-01T10:10:00Z", host__name="other"),
    kill(3, time="2026-03-01T11:00:00Z", process__memory__anon=80 * MIB),
    kill(4, "db", time="2026-03-01T10:30:00Z", process__memory={}, oom__memcg__limit=200 * MIB),
]


def test_workloads_have_their_kills_hosts_largest_victim_and_period():
    assert tables_of(LINES).rows["Workloads with the most kills"] == [
        ["workload", "kills", "share", "hosts", "largest victim", "first", "last"],
        ["unit web.service", "3", "75 %", "2", "110.0 MiB", "2026-03-01 10:00:00", "2026-03-01 11:00:00"],
        ["unit db.service", "1", "25 %", "1", "not known", "2026-03-01 10:30:00", "2026-03-01 10:30:00"],
    ]


def test_the_overview_adds_up_what_the_lines_have():
    text = tables_of([*LINES, line("lost")]).sections[""]

    assert text.partition("Skip to the report")[2].startswith(
        "Report on OOM kills2026-03-01 10:00:00 to 2026-03-01 11:00:00 UTC. All times are UTC."
        "kills4incidents4workloads2hosts3kills without a line3"
    )


def test_the_memory_of_victims_is_an_average_of_those_it_is_known_of():
    found = tables_of(LINES)

    average = ["", "3", "66.7 MiB", "20.0 MiB", "10.0 MiB", "0 bytes", "10.0 MiB", ""]
    assert found.rows["Memory by kind"][1:] == [["all victims", *average], ["unit web.service", *average]]
    assert "Averages of 3 kills: " in found.sections["memory"]


def test_the_kernels_statistics_of_cgroups_are_averaged_apart():
    stat = {"anon": 50 * MIB, "file": 30 * MIB, "shmem": 10 * MIB, "kernel": 8 * MIB, "pagetables": 2 * MIB}
    found = tables_of([*LINES, kill(5, oom__memcg__stat=stat)])

    assert found.rows["Memory by kind"][2] == [
        "charged to the cgroup", "", "1", "50.0 MiB", "20.0 MiB", "10.0 MiB", "2.0 MiB", "", "18.0 MiB",
    ]  # fmt: skip
    assert "The kernel's statistics of the whole cgroup are in 1 line." in found.sections["memory"]


def test_only_the_workloads_with_the_most_kills_have_their_memory_shown():
    lines = [kill(number, f"w{number % 11:02}") for number in range(21)]
    rows = tables_of(lines).rows["Memory by kind"]

    assert [row[0] for row in rows[1:]] == ["all victims", *(f"unit w{number:02}.service" for number in range(10))]


def test_limits_have_their_kills_use_suggestion_and_evidence():
    assert tables_of(LINES).rows["Limits that were hit most"] == [
        ["limit of", "limit and use", "kills", "limit", "peak use", "suggested", "evidence"],
        [
            *("unit web.service", "", "3", "100.0 MiB", "110.0 MiB", "144.0 MiB"),
            "3 kills at 100.0 MiB, with up to 110.0 MiB in use, 10.0 MiB of it in swap. It needs more than 110.0 MiB.",
        ],
        [
            *("unit db.service", "", "1", "200.0 MiB", "110.0 MiB", "256.0 MiB"),
            "1 kill at 200.0 MiB, with up to 110.0 MiB in use, 10.0 MiB of it in swap. It needs more than 200.0 MiB.",
        ],
    ]


def test_a_limit_that_was_changed_is_that_of_the_newest_kill_and_counts_its_peak():
    lines = [
        kill(1, time="2026-03-02T00:00:00Z", oom__memcg__limit=300 * MIB, oom__memcg__peak=305 * MIB),
        kill(2, time="2026-03-01T00:00:00Z", oom__memcg__limit=100 * MIB),
        kill(3, time="2026-03-01T01:00:00Z", oom__memcg__limit=50 * MIB, oom__verdict="group_member"),
    ]
    ((_, _, kills, limit, use, suggested, evidence),) = tables_of(lines).rows["Limits that were hit most"][1:]

    assert (kills, limit, use, suggested) == ("2", "300.0 MiB", "315.0 MiB", "416.0 MiB")
    assert evidence.startswith("1 kill at 300.0 MiB, with up to 315.0 MiB in use, 10.0 MiB of it in swap. Also killed")


def test_a_limit_that_a_leak_fills_has_no_suggestion():
    lines = [kill(n, process__memory__anon=80 * MIB, process__creation__time="2026-02-01T00:00:00Z") for n in range(2)]
    ((_, _, _, limit, use, suggested, evidence),) = tables_of(lines).rows["Limits that were hit most"][1:]

    assert (limit, use, suggested) == ("100.0 MiB", "110.0 MiB", "none")
    assert evidence.endswith("2 victims of 2 grew for an hour or longer: a leak fills any limit.")


def test_causes_and_verdicts_have_their_share():
    lines = [*LINES, kill(5, oom__verdict="group_member"), kill(6, oom__verdict="shared_mm"), line("vm-6.18-global")]
    found = tables_of(lines).rows

    assert found["What ran out of memory"][1:] == [
        ["a unit hit its limit", "6", "85 %"],
        ["the host ran out of memory", "1", "14 %"],
    ]
    assert found["How the victims came to die"][1:] == [
        ["chosen by the kernel", "5", "71 %"],
        ["killed with their group (memory.oom.group)", "1", "14 %"],
        ["shared the memory of the chosen process", "1", "14 %"],
    ]


def test_rules_have_their_newest_example():
    newer, older = (
        kill(number, time=f"2026-03-0{number}T00:00:00Z", process__memory__anon=size * MIB)
        for number, size in ((2, 90), (1, 80))
    )

    for lines in ([newer, older], [older, newer]):
        assert tables_of(lines).rows["First suggestions, by rule"][1:] == [
            [
                "too-small",
                "2",
                "100 %",
                "90.0 MiB of heap filled the limit: if that is normal, it needs more than 100.0 MiB.",
            ]
        ]


@pytest.mark.parametrize(("kills", "shares"), [(120, ["99 %", "< 1 %"]), (99, ["99 %", "1 %"])])
def test_a_share_that_is_not_0_is_not_shown_as_0(kills, shares):
    lines = [*(kill(number) for number in range(kills)), kill(kills, "db")]

    assert [row[2] for row in tables_of(lines).rows["Workloads with the most kills"][1:]] == shares


def test_repeat_offenders_have_their_interval_and_the_advice_for_their_last_kill():
    found = tables_of(LINES)

    advice = "80.0 MiB of heap filled the limit: if that is normal, it needs more than 100.0 MiB."
    assert found.rows["Repeat offenders"][1:] == [
        [
            *("unit web.service", "3", "30 min", "2", "2026-03-01 11:00:00"),
            f"{advice} (Most frequent rule: no rule fits, 2 kills.)",
        ]
    ]
    assert "Killed more than once: 1 workload; all are shown." in found.sections["offenders"]


def test_repeat_offenders_without_advice_time_or_a_pause_say_so():
    lines = [kill(1), kill(2), kill(3, "db", time="?"), kill(4, "db", time="?")]

    assert tables_of(lines).rows["Repeat offenders"][1:] == [
        ["unit db.service", "2", "not known", "1", "not known", "no rule fits"],
        ["unit web.service", "2", "0 s", "1", "2026-03-01 10:00:00", "no rule fits"],
    ]


def test_workloads_that_were_killed_once_are_no_repeat_offenders():
    text = tables_of([kill(1), kill(2, "db")]).sections["offenders"]

    assert text == "Repeat offendersNo workload was killed more than once."


def test_of_many_workloads_and_limits_twenty_are_shown_and_the_others_counted():
    found = tables_of(kill(number, f"w{number % 23:02}") for number in range(69))

    for caption in ("Workloads with the most kills", "Limits that were hit most", "Repeat offenders"):
        assert [row[0] for row in found.rows[caption][1:]] == [f"unit w{number:02}.service" for number in range(20)]
    for section in ("workloads", "limits"):
        assert found.sections[section].endswith("Not shown: 3 others, with 9 kills.")
    assert "23 workloads; the 20 with the most kills are shown." in found.sections["offenders"]


def test_the_chart_has_its_numbers_in_a_table_without_stretches_of_nothing():
    lines = [
        *LINES,
        changed("sigkill", {"time": "2026-03-01T10:30:00Z"}),
        kill(5, time="?"),
        kill(6, "x", oom__scope="new"),
    ]
    found = tables_of(lines)

    assert found.rows["Kills over time"] == [
        ["from (UTC)", "kills", "limit of a cgroup", "other or not known", "SIGKILL from user space"],
        ["03-01 10:00", "2", "1", "1", "0"],
        ["03-01 10:10", "1", "1", "0", "0"],
        ["03-01 10:30", "2", "1", "0", "1"],
        ["03-01 11:00", "1", "1", "0", "0"],
    ]
    text = found.sections["time"]
    assert "Each bar is 1 minute; times are UTC. Left out: 1 kill without a time." in text


def test_losses_have_their_host_number_and_period_the_newest_first():
    unknown = changed("lost", {"id": "2", "host": {}, "lost": {}})
    found = tables_of([line("lost"), unknown, kill(1, dropped_before=3), kill(2, dropped_before=4)])

    assert found.rows["Kills without a line"] == [
        ["host", "kills", "from", "to"],
        ["not known", "not known", "not known", "not known"],
        ["node7", "3", "2026-11-28 03:00:00", "2026-11-28 03:00:04"],
    ]
    text = found.sections["losses"]
    assert "3 kills in 2 oom_lost lines: " in text
    assert "The last" not in text
    assert text.endswith("7 records were lost between the kernel and oomtrace (dropped_before).")


def test_of_many_losses_it_is_said_that_the_last_are_shown():
    found = tables_of(changed("lost", {"id": str(number), "host.name": f"node{number}"}) for number in range(51))

    assert [row[0] for row in found.rows["Kills without a line"][1:]] == [
        f"node{number}" for number in range(50, 0, -1)
    ]
    assert "153 kills in 51 oom_lost lines: " in found.sections["losses"]
    assert "The last 50 are shown." in found.sections["losses"]


def test_other_events_are_counted_by_name_and_sender():
    names = [f"killer{number:02}" for number in range(22)] + ["killer21"]
    sigkills = [changed("sigkill", {"id": str(at), "sigkill.sender.comm": name}) for at, name in enumerate(names)]
    found = tables_of([*sigkills, line("vm-6.1-no-kill"), line("exit"), line("lost")]).rows

    assert {row[1]: row[2] for row in found["Lines by event, each id once"][1:]} == {
        "oom_kill": "0", "oom_no_kill": "1", "oom_lost": "1", "sigkill": "23", "oom_dying": "0", "oom_exit": "1",
    }  # fmt: skip
    senders = found["SIGKILL from user space, by sender"][1:]
    assert (senders[0], senders[1], len(senders)) == (["killer21", "2"], ["killer00", "1"], 21)
    assert senders[20] == ["all others", "2"]
    assert found["Memory ran out, nothing killed"][1:] == [["a memory cgroup hit its limit", "1"]]


def test_incidents_count_their_lines_and_say_how_many_are_not_shown():
    text = tables_of([*(kill(n, oom__incident="i") for n in range(5)), kill(9)]).sections["incidents"]

    assert text.startswith("IncidentsAll 2, the newest first.")
    assert "2026-03-01 10:00:00, vm, python3: a unit hit its limit, 5 linesKilled: " in text
    assert text.count("Killed: python3") == 4
    assert "2 more lines of this incident are not shown." in text


def test_a_single_incident_is_one():
    text = tables_of([kill(n, oom__incident="i") for n in range(4)]).sections["incidents"]

    assert text.startswith("IncidentsThere is one.")
    assert text.endswith("1 more line of this incident is not shown.")


def test_incidents_that_are_shown_in_full_lack_nothing():
    text = tables_of([kill(1), kill(2), *(kill(n, oom__incident="i") for n in (3, 4, 5))]).sections["incidents"]

    assert "not shown" not in text
    assert "left out" not in text


@pytest.mark.parametrize("forgotten", ["ids", "incidents"])
def test_ids_that_were_forgotten_are_stated(forgotten):
    found = Aggregate()
    setattr(found, forgotten, Seen(1))
    for number in range(2):
        found.add(kill(number))
    text = Tables(page(found, ()).decode()).sections["input"]

    assert "Only the last 1,000,000 ids are compared: a line that is repeated later counts twice." in text


def test_what_was_read_has_duplicates_and_levels():
    files = [
        Source("a.log", 2),
        Source("b.log", 1, 2, ("line 3: it is not JSON",)),
        Source("c.log", 0, 0, (), "no: damaged"),
    ]
    found = tables_of([kill(1), kill(1), kill(2, fidelity="full"), kill(3, fidelity="full")], files)

    assert found.rows["Files"][1:] == [
        ["a.log", "2", "0", "yes"],
        ["b.log", "1", "2", "yes"],
        ["c.log", "0", "0", "no: damaged"],
    ]
    assert found.rows["Kills by level of the source"][1:] == [["full", "2"], ["reduced", "1"]]
    text = found.sections["input"]
    assert "Not lines of oomtrace, and left out; the first of each file:b.log, line 3: it is not JSON" in text
    assert "1 line had the event and id of an earlier one: counted once." in text
    assert "Only the last" not in text


def test_names_of_limits_are_those_of_their_owner():
    pod: dict[str, Any] = {"pod": {"uid": "u", "name": "web-1"}, "container": {"name": "worker"}}
    lines = [
        kill(1, k8s=pod, oom__limit_owner="container"),
        kill(2, k8s=pod, oom__limit_owner="pod"),
        kill(3, oom__limit_owner="unit", oom__memcg__path="/above.slice"),
        kill(4, oom__limit_owner="cgroup", oom__memcg__path=None),
    ]

    assert sorted(row[0] for row in tables_of(lines).rows["Limits that were hit most"][1:]) == [
        "all containers of pod web-1",
        "cgroup /above.slice",
        "not known",
        "pod web-1 / worker",
    ]
