# SPDX-License-Identifier: Apache-2.0
"""From a record to its line: one line, valid, short enough, and unknown is absent."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sightings import kill

from ooMtrace import record
from ooMtrace.encode import dump, encode

TEXT = st.text(
    st.characters(exclude_categories=("Cs",)) | st.characters(max_codepoint=0x9F) | st.sampled_from("\u2028\u2029"),
    max_size=40,
)
"""All that UTF-8 can carry, often control characters and ends of lines."""


def test_the_least_that_a_line_has_is_this():
    assert encode(kill()) == (
        b'{"schema":"oomtrace/1","event":"oom_kill","id":"12345678-ee6b2800-100","seq":1,'
        b'"time":"2023-11-14T22:13:19.000001Z","observed":"2023-11-14T22:13:20.000000Z","severity":"ERROR",'
        b'"message":"worker (pid 100) was killed","source":"full","derived":[],"missing":[],'
        b'"host":{"name":"host","boot_id":"12345678-9abc-4def-8123-456789abcdef","kernel":"6.12.0"},'
        b'"oom":{"incident":"12345678-ee6b2800","verdict":"killed"},"process":{"pid":100,"comm":"worker"}}\n'
    )


def test_unknown_is_absent_and_so_is_what_holds_nothing_else():
    empty = record.Oom(
        incident="i",
        points=record.Points(),
        memcg=record.Memcg(path="/", events=record.MemcgEvents()),
        group=record.Group(),
        trigger=record.Trigger(),
    )
    line = json.loads(
        encode(kill(oom=empty, namespace=record.Namespace(), cgroup=record.Cgroup(v2=record.UnifiedCgroup())))
    )

    assert line["oom"] == {"incident": "i", "memcg": {"path": "/"}}
    assert "namespace" not in line
    assert "cgroup" not in line
    assert "truncated" not in line


def test_zero_false_and_an_empty_list_are_facts():
    zero = record.Oom(
        incident="i", order=0, points=record.Points(total=0, exact=False), gfp_mask=record.GfpMask(raw="0x0", flags=())
    )
    line = json.loads(encode(kill(oom=zero, process=record.Process(pid=0, oom_score_adj=0))))

    assert line["oom"]["order"] == 0
    assert line["oom"]["points"] == {"total": 0, "exact": False}
    assert line["oom"]["gfp_mask"] == {"raw": "0x0", "flags": []}
    assert line["process"] == {"pid": 0, "oom_score_adj": 0}


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ('a"b\\c', rb"a\"b\\c"),
        ("a\nb\tc\r", rb"a\nb\tc\r"),
        ("\x1b[31m", rb"\u001b[31m"),
        ("\x7f\x80\x9b\x9f", rb"\u007f\u0080\u009b\u009f"),
        ("\x85\u2028\u2029", rb"\u0085\u2028\u2029"),
        ("\xa0名", "\xa0名".encode()),
        ("\\u009b", rb"\\u009b"),
    ],
)
def test_nothing_that_ends_a_line_or_moves_a_terminal_gets_into_a_line(name, raw):
    line = encode(kill(process=record.Process(pid=100, comm=name)))

    assert b'"comm":"' + raw + b'"' in line
    assert json.loads(line)["process"]["comm"] == name


@given(name=TEXT, path=TEXT, host=TEXT)
def test_any_text_makes_one_line_that_gives_it_back(name, path, host):
    whole = kill(
        process=record.Process(comm=name), cgroup=record.Cgroup(path=path), namespace=record.Namespace(hostname=host)
    )

    line = encode(whole)

    assert line.endswith(b"}\n")
    assert len(line.decode().splitlines()) == 1
    assert not [one for one in line[:-1].decode() if unicodedata.category(one) == "Cc"]
    parsed = json.loads(line)
    assert (parsed["process"]["comm"], parsed["cgroup"]["path"], parsed["namespace"]["hostname"]) == (name, path, host)


@given(name=TEXT)
def test_pretty_says_the_same(name):
    whole = kill(process=record.Process(comm=name))

    pretty = encode(whole, pretty=True)

    assert json.loads(pretty) == json.loads(encode(whole))
    assert pretty.count(b"\n") > 20
    assert not [one for one in pretty.decode() if unicodedata.category(one) == "Cc" and one != "\n"]


def with_paths(trigger: str = "", v2: str = "", group: str = "", memcg: str = "", own: str = "") -> record.OomKill:
    """A kill with paths made of these."""
    oom = record.Oom(
        incident="12345678-ee6b2800",
        verdict="killed",
        trigger=record.Trigger(pid=100, cgroup=f"/trigger{trigger}"),
        memcg=record.Memcg(id="11", path=f"/memcg{memcg}"),
        group=record.Group(path=f"/group{group}"),
    )
    unified = record.UnifiedCgroup(path=f"/v2{v2}", id="7")
    return kill(oom=oom, cgroup=record.Cgroup(id="12", version=1, path=f"/own{own}", v2=unified))


ORDER = ["oom.trigger.cgroup", "cgroup.v2", "oom.group", "oom.memcg.path", "cgroup.path"]


@pytest.mark.parametrize(
    ("paths", "gone"),
    [
        ({}, None),
        ({"trigger": 6000}, None),
        ({"trigger": 8000}, ORDER[:1]),
        ({"trigger": 4000, "own": 4000}, ORDER[:1]),
        ({"v2": 8000}, ORDER[:2]),
        ({"group": 8000}, ORDER[:3]),
        ({"memcg": 8000}, ORDER[:4]),
        ({"own": 8000}, ORDER),
        (dict.fromkeys(("trigger", "v2", "group", "memcg", "own"), 3000), ORDER[:3]),
        (dict.fromkeys(("trigger", "v2", "group", "memcg", "own"), 30000), ORDER),
    ],
)
def test_a_line_that_is_too_long_loses_paths_in_a_fixed_order_and_says_so(validate, paths, gone):
    line = encode(with_paths(**{name: "x" * size for name, size in paths.items()}))

    parsed = json.loads(line)
    assert len(line) <= 8000
    validate(parsed)
    assert parsed.get("truncated") == gone
    for name in ORDER:
        part = parsed
        for step in name.split("."):
            part = part.get(step, {})
        assert bool(part) is (name not in (gone or []))
    assert parsed["cgroup"]["id"] == "12"
    assert parsed["oom"]["memcg"]["id"] == "11"


def test_what_is_not_there_is_not_called_truncated():
    whole = with_paths(memcg="x" * 9000)
    whole = replace(whole, oom=replace(whole.oom, trigger=None, group=None))

    assert json.loads(encode(whole))["truncated"] == ["cgroup.v2", "oom.memcg.path"]


@pytest.mark.parametrize("worst", ["\x01", "\x9b", "\u2028", "\\xff", "名"])
def test_the_worst_names_that_the_kernel_lets_through_fit_into_the_limit(validate, worst):
    """4,096 bytes of paths at most, each of which may take six; the other strings are short."""
    path = worst * 4096
    whole = with_paths(path, path, path, path, path)
    whole = replace(
        whole,
        message=f"{worst * 16} (pid 100) was killed: memory cgroup ...{path[-200:]} reached its limit",
        process=record.Process(pid=100, comm=worst * 16, parent=record.Parent(comm=worst * 16)),
        namespace=record.Namespace(hostname=worst * 64),
        missing=tuple(record.missing(whole)),
    )

    line = encode(whole)

    assert len(line) <= 8000
    validate(json.loads(line))


@given(sizes=st.lists(st.integers(0, 9000), min_size=5, max_size=5))
def test_no_mixture_of_lengths_passes_the_limit(sizes):
    names = ("trigger", "v2", "group", "memcg", "own")
    assert len(encode(with_paths(**{name: "x" * size for name, size in zip(names, sizes, strict=True)}))) <= 8000


def test_no_length_around_the_limit_passes_it():
    for size in range(7000, 8200):
        assert len(encode(with_paths(trigger="x" * size))) <= 8000
        assert len(encode(with_paths(memcg="x" * size))) <= 8000


def test_other_documents_are_indented_and_end_with_a_newline():
    assert dump({"a": [1], "b": "\x9b"}) == b'{\n  "a": [\n    1\n  ],\n  "b": "\\u009b"\n}\n'
