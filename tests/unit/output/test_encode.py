# SPDX-License-Identifier: Apache-2.0
"""Lines are valid, single and short enough, and unknown facts are absent."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.probe_events import kill

from ooMtrace import record
from ooMtrace.output.encode import dump, encode
from ooMtrace.output.shorten import EXPENDABLE

TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.characters(max_codepoint=0x9F) | st.sampled_from("\u2028\u2029"),
    max_size=40,
)
"""All that UTF-8 can carry, often control characters and ends of lines."""


def test_a_minimal_record_is_encoded_like_this():
    assert encode(kill()) == (
        b'{"schema":"oomtrace/1","event":"oom_kill","id":"12345678-ee6b2800-100","seq":1,'
        b'"time":"2023-11-14T22:13:19.000001Z","observed":"2023-11-14T22:13:20.000000Z","severity":"ERROR",'
        b'"message":"worker (pid 100) was killed","fidelity":"full","derived":[],"missing":[],'
        b'"host":{"name":"host","boot_id":"12345678-9abc-4def-8123-456789abcdef","kernel":"6.12.0"},'
        b'"oom":{"incident":"12345678-ee6b2800","verdict":"killed"},"process":{"pid":100,"comm":"worker"}}\n'
    )


def test_unknown_facts_and_parts_without_facts_are_absent():
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
        ("\x7f", rb"\u007f"),
        ("\x7f\x80\x9b\x9f", rb"\u007f\u0080\u009b\u009f"),
        ("\x85\u2028\u2029", rb"\u0085\u2028\u2029"),
        ("\xa0名", "\xa0名".encode()),
        ("\\u009b", rb"\\u009b"),
    ],
)
def test_characters_that_end_a_line_or_control_a_terminal_are_escaped(name, raw):
    line = encode(kill(process=record.Process(pid=100, comm=name)))

    assert b'"comm":"' + raw + b'"' in line
    assert json.loads(line)["process"]["comm"] == name


@given(name=TEXT, path=TEXT, host=TEXT)
def test_any_text_round_trips_in_one_line(name, path, host):
    whole = kill(
        process=record.Process(comm=name), cgroup=record.Cgroup(path=path), namespace=record.Namespace(hostname=host)
    )

    line = encode(whole)

    assert line.endswith(b"}\n")
    assert len(line.decode().splitlines()) == 1
    assert not [char for char in line[:-1].decode() if unicodedata.category(char) == "Cc"]
    parsed = json.loads(line)
    assert (parsed["process"]["comm"], parsed["cgroup"]["path"], parsed["namespace"]["hostname"]) == (name, path, host)


@given(name=TEXT)
def test_pretty_has_the_same_content(name):
    whole = kill(process=record.Process(comm=name))

    pretty = encode(whole, pretty=True)

    assert json.loads(pretty) == json.loads(encode(whole))
    assert pretty.count(b"\n") > 20
    assert not [char for char in pretty.decode() if unicodedata.category(char) == "Cc" and char != "\n"]


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
def test_a_line_that_is_too_long_loses_paths_in_a_fixed_order_and_lists_them(validate, paths, gone):
    line = encode(with_paths(**{name: "x" * size for name, size in paths.items()}))

    parsed = json.loads(line)
    assert len(line) <= 8000
    validate(parsed)
    assert parsed.get("truncated") == (gone and sorted(gone))
    for name in ORDER:
        part = parsed
        for step in name.split("."):
            part = part.get(step, {})
        assert bool(part) is (name not in (gone or []))
    assert parsed["cgroup"]["id"] == "12"
    assert parsed["oom"]["memcg"]["id"] == "11"


def test_an_absent_fact_is_not_listed_as_truncated():
    whole = with_paths(memcg="x" * 9000)
    whole = replace(whole, oom=replace(whole.oom, trigger=None, group=None))

    assert json.loads(encode(whole))["truncated"] == ["cgroup.v2", "oom.memcg.path"]


@pytest.mark.parametrize("worst", ["\x01", "\x9b", "\u2028", "\\xff", "名"])
def test_the_longest_names_that_the_kernel_allows_fit_into_a_line(validate, worst):
    """4,096 bytes of paths at most, each of which may take six; the other strings are short."""
    path = worst * 4096
    whole = with_paths(path, path, path, path, path)
    whole = replace(
        whole,
        message=f"{worst * 16} (pid 100) was killed: memory cgroup ...{path[-200:]} reached its limit",
        process=record.Process(pid=100, comm=worst * 16, parent=record.Parent(comm=worst * 16)),
        namespace=record.Namespace(hostname=worst * 64),
        missing=tuple(record.missing_facts(whole)),
    )

    line = encode(whole)

    assert len(line) <= 8000
    validate(json.loads(line))


@given(sizes=st.lists(st.integers(0, 9000), min_size=5, max_size=5))
def test_no_mixture_of_lengths_exceeds_the_limit(sizes):
    names = ("trigger", "v2", "group", "memcg", "own")
    assert len(encode(with_paths(**{name: "x" * size for name, size in zip(names, sizes, strict=True)}))) <= 8000


def test_no_length_near_the_limit_exceeds_it():
    for size in range(7000, 8200):
        assert len(encode(with_paths(trigger="x" * size))) <= 8000
        assert len(encode(with_paths(memcg="x" * size))) <= 8000


OWN_NAMES = {"missing", "derived", "redacted", "truncated"}
"""Lists of names of facts: no text of others gets there."""


def filled(kind: Any, text: str, many: int) -> Any:
    """Return a value of this type in which every text is this text."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: () if name in OWN_NAMES else filled(hint, text, many) for name, hint in hints.items()})
    arguments = [argument for argument in get_args(kind) if argument not in (type(None), Ellipsis)]
    origin = get_origin(kind)
    if kind is str or origin is Literal:
        return text if kind is str else arguments[0]
    if origin is tuple:
        return (filled(arguments[0], text, many),) * many
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {f"{i}{text}": text for i in range(many)}
    if arguments:
        return filled(arguments[0], text, many)
    return {int: (1 << 63) - 1, bool: True}[kind]


@pytest.mark.parametrize("many", [0, 1, 5])
@pytest.mark.parametrize("text", ["x" * 100, "\x01" * 300, "\x9b" * 1500, "\u2028" * 1500, "名" * 1500])
def test_no_text_of_any_fact_makes_a_line_too_long(text, many):
    whole = filled(record.OomKill, text, many)

    line = encode(whole)

    assert len(line) <= 8000
    assert line.count(b"\n") == 1
    parsed = json.loads(line)
    assert parsed == json.loads(encode(whole, pretty=True))
    assert parsed["process"]["pid"] == (1 << 63) - 1
    assert text.startswith(parsed["process"]["user"]["name"])
    assert parsed["process"]["user"]["name"]
    for name in ("process.comm", "message", "process.user.name"):
        assert (name in parsed.get("truncated", ())) is (len(text) > 100)


@pytest.mark.parametrize("many", [0, 5])
@pytest.mark.parametrize("text", ["x" * 100, "\u2028" * 1500])
def test_the_line_of_an_oom_without_a_kill_is_never_too_long(text, many):
    line = encode(filled(record.OomNoKill, text, many))

    assert len(line) <= 8000
    assert json.loads(line)["oom"]["reason"] == "no_killable_process"


def test_dump_indents_and_ends_with_a_newline():
    assert dump({"a": [1], "b": "\x9b"}) == b'{\n  "a": [\n    1\n  ],\n  "b": "\\u009b"\n}\n'


def of_process(**facts: Any) -> record.OomKill:
    return kill(process=record.Process(pid=100, comm="worker", **facts))


def connection(fd: int, length: int = 10) -> record.Connection:
    return record.Connection(fd=fd, transport="unix", remote=record.Endpoint(address="/" + "x" * (length - 1)))


def shortened(whole: record.OomKill) -> dict[str, Any]:
    line = encode(whole)
    assert len(line) <= 8000
    found: dict[str, Any] = json.loads(line)
    return found


def test_many_arguments_are_halved_from_the_end():
    args = tuple(f"argument-{i:04}" for i in range(1000))

    line = shortened(of_process(command_args=args))

    assert line["process"]["command_args"] == list(args[:250])
    assert line["truncated"] == ["process.command_args"]


def test_the_longest_arguments_are_halved_first_and_none_is_lost():
    args = ("program", "a" * 6000, "--flag", "b" * 5000, "")

    line = shortened(of_process(command_args=args))

    assert line["process"]["command_args"] == ["program", "a" * 3000, "--flag", "b" * 2500, ""]
    assert line["truncated"] == ["process.command_args"]


def test_arguments_of_64_characters_are_not_halved():
    args = tuple("x" * 64 for _ in range(200))

    assert shortened(of_process(command_args=args))["process"]["command_args"] == ["x" * 64] * 100


@pytest.mark.parametrize(("length", "left"), [(6000, 6000), (9000, 4500), (40000, 5000)])
def test_a_long_title_keeps_its_beginning(length, left):
    line = shortened(of_process(title="x" * length))

    assert line["process"]["title"] == "x" * left
    assert line.get("truncated") == (None if left == length else ["process.title"])


@pytest.mark.parametrize(("number", "length", "left"), [(48, 90, 48), (48, 200, 24), (48, 400, 12), (15, 2000, 3)])
def test_the_first_connections_are_kept(number, length, left):
    line = shortened(of_process(connections=tuple(connection(fd, length) for fd in range(number))))

    assert [connection["fd"] for connection in line["process"]["connections"]] == list(range(left))
    assert line.get("truncated") == (None if left == number else ["process.connections"])


def test_arguments_are_halved_before_the_last_eight_connections():
    connections = tuple(connection(fd, 300) for fd in range(32))

    line = shortened(of_process(connections=connections, command_args=("a" * 4000, "b" * 4000)))

    assert len(line["process"]["connections"]) == 8
    assert line["process"]["command_args"] == ["a" * 2000, "b" * 2000]
    assert line["truncated"] == ["process.command_args", "process.connections"]


def test_arguments_are_removed_before_the_last_connections():
    connections = tuple(connection(fd, 1500) for fd in range(8))

    line = shortened(of_process(connections=connections, command_args=("a" * 4000,)))

    assert line["process"]["command_args"] == []
    assert len(line["process"]["connections"]) == 4


def test_later_facts_are_kept_if_cutting_an_earlier_one_suffices():
    environment = {f"KEY_{i}": "x" * 100 for i in range(60)}
    connections = tuple(connection(fd) for fd in range(48))

    line = shortened(of_process(environment=environment, connections=connections, command_args=("a" * 2000,)))

    assert "environment" not in line["process"]
    assert len(line["process"]["connections"]) == 48
    assert line["process"]["command_args"] == ["a" * 2000]
    assert line["truncated"] == ["process.environment"]


def test_a_fact_that_was_truncated_before_is_listed_once():
    whole = replace(of_process(title="x" * 9000), truncated=("process.title", "process.connections"))

    assert shortened(whole)["truncated"] == ["process.connections", "process.title"]


def test_a_short_line_lists_only_what_was_truncated_before():
    whole = replace(of_process(title="x", command_args=(), connections=()), truncated=("process.title",))

    assert shortened(whole)["truncated"] == ["process.title"]


def test_every_expendable_fact_is_in_the_record():
    for name, _ in EXPENDABLE:
        part: Any = record.OomKill
        for step in name.split("."):
            hints = get_type_hints(part)
            assert step in hints, name
            part = next((kind for kind in (hints[step], *get_args(hints[step])) if is_dataclass(kind)), None)


def test_the_reserve_suffices_to_list_every_expendable_fact():
    names = json.dumps([name for name, _ in EXPENDABLE], separators=(",", ":"))

    assert len(f'"truncated":{names},') <= 400


WORST = st.sampled_from(["\x01", "\x9b", "\u2028", "\\xff", '"', "名", "x", " "])


@st.composite
def long_text(draw: st.DrawFn, most: int) -> str:
    return draw(WORST) * draw(st.integers(0, most))


@st.composite
def endpoint(draw: st.DrawFn) -> record.Endpoint | None:
    return draw(st.none() | st.builds(record.Endpoint, address=long_text(110), port=st.none() | st.integers(0, 65535)))


@given(
    args=st.none()
    | st.lists(long_text(4096), max_size=6).map(tuple)
    | st.tuples(st.integers(0, 2048), long_text(3)).map(lambda many: (many[1],) * many[0]),
    title=st.none() | long_text(4096),
    ends=st.tuples(st.integers(0, 24), endpoint(), endpoint()).map(lambda many: [many[1:], many[:0:-1]] * many[0]),
    environment=st.none() | st.dictionaries(long_text(300), long_text(9000), max_size=8),
    paths=st.tuples(*[long_text(4096)] * 5),
    job=st.none() | long_text(2000),
)
@settings(deadline=None, max_examples=60)
def test_any_context_of_a_victim_fits_into_a_line(validate, args, title, ends, environment, paths, job):
    whole = with_paths(*paths)
    path = paths[0]
    whole = replace(
        whole,
        message="\x01" * 216,
        process=record.Process(
            pid=1 << 22,
            comm="\x01" * 16,
            parent=record.Parent(comm="\x9b" * 16),
            title=title,
            command_args=args,
            executable=record.Executable(path=path),
            working_directory=path,
            connections=tuple(
                record.Connection(fd=fd, transport="unix", local=local, remote=remote, service="redis")
                for fd, (local, remote) in enumerate(ends)
            ),
            environment=environment,
        ),
        namespace=record.Namespace(hostname="\x01" * 64, addresses=("2001:db8::8:800:200c:417a",) * 40),
        job=None if job is None else record.Job(system="sidekiq", name=job, registry=job),
        missing=tuple(record.missing_facts(kill())),
        derived=("oom.scope", "oom.limit_bytes", "oom.memcg", "oom.points", "process.command_args"),
        truncated=("process.command_args", "process.connections", "process.environment"),
        redacted=("process.command_args", "process.environment", "process.title"),
    )

    line = encode(whole)

    assert len(line) <= 8000
    assert len(line.decode().splitlines()) == 1
    parsed = json.loads(line)
    validate(parsed)
    process = parsed["process"]
    shorter = [name for name, was in (("title", title), ("command_args", args)) if was is not None]
    for name in shorter:
        assert process[name] == (title if name == "title" else list(args)) or f"process.{name}" in parsed["truncated"]
    assert len(process["connections"]) == len(ends) or "process.connections" in parsed["truncated"]
