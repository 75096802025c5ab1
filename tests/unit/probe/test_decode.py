# SPDX-License-Identifier: Apache-2.0
"""Decoding perf records: every field reaches its place, unknown stays unknown, invalid records raise DecodeError."""

from __future__ import annotations

import ctypes
import struct
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ooMtrace.errors import DecodeError
from ooMtrace.events import (
    Candidate,
    Context,
    Decision,
    Descriptors,
    Exit,
    Kind,
    MemcgLevel,
    Ranking,
    RepeatKill,
    Rss,
    Socket,
    Task,
    Victim,
    VictimEvent,
)
from ooMtrace.kernel.cgroup_change import CgroupChange
from ooMtrace.probe import wire
from ooMtrace.probe.decode import decode, decode_cgroup_change, text

FIXED = ctypes.sizeof(wire.VictimEvent)
FIXED_RANKING = ctypes.sizeof(wire.Ranking)
FIXED_CONTEXT = ctypes.sizeof(wire.Context)


def unknown(kind: int = wire.KIND_KILLED) -> wire.VictimEvent:
    """A victim event of which only kind and time could be read, as the BPF program sends it."""
    raw = wire.VictimEvent.from_buffer_copy(wire.UNKNOWN.to_bytes(8, "little", signed=True) * (FIXED // 8))
    raw.kind, raw.ktime = kind, 1
    for task in (raw.victim.task, raw.victim.parent, raw.trigger):
        task.comm = bytes(16)
    raw.victim.nodename = bytes(65)
    raw.decision.message = bytes(48)
    ctypes.memset(ctypes.addressof(raw.stack), 0, ctypes.sizeof(raw.stack))
    raw.contents = wire.Contents()
    return raw


def level(id_: int) -> bytes:
    """A memory cgroup of which only the id could be read."""
    return bytes(wire.MemcgLevel(id_, *[wire.UNKNOWN] * 13))


def ids(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}q", *numbers)


def test_unknown_values_of_a_victim_event_become_none():
    nobody = Task(None, None, None, None)
    no_rss = Rss(None, None, None, None)

    assert decode(bytes(unknown())) == VictimEvent(
        kind=Kind.KILLED,
        ktime=1,
        victim=Victim(nobody, nobody, None, None, None, None, no_rss, no_rss, None, None, None, None, None, None),
        trigger=nobody,
        decision=None,
        memcg_version=None,
        memcg=(),
        memcg_path=None,
        unified_id=None,
        unified_path=None,
        trigger_memcg_ids=(),
        trigger_memcg_path=None,
        stack=(),
        signalled_at=None,
        exec_args=None,
    )


def test_every_field_of_a_victim_event_is_decoded():
    raw = unknown(wire.KIND_SHARER)
    raw.ktime, raw.memcg_version, raw.unified_id, raw.signalled_at = 10, 1, 11, 9
    raw.exec_size = 6
    ctypes.memmove(ctypes.addressof(raw) + wire.VictimEvent.exec_args.offset, b"a\0b\0c\0stale", 11)
    raw.victim.task = wire.Task(20, 21, 22, b"worker")
    raw.victim.parent = wire.Task(23, 24, 25, b"boss")
    raw.trigger = wire.Task(26, 27, 28, b"sixteen-letters-")
    for number, (name, *_) in enumerate(wire.Victim._fields_[2:6], 30):
        setattr(raw.victim, name, number)
    raw.victim.rss[:], raw.victim.rss_sum[:] = (40, 41, 42, 43), (44, 45, 46, 47)
    for number, (name, *_) in enumerate(wire.Victim._fields_[8:14], 50):
        setattr(raw.victim, name, number)
    raw.victim.nodename = b"box"
    raw.decision = wire.Decision(60, 61, 62, 63, 64, 65, 66, 67, b"Out of memory")
    raw.stack[0], raw.stack[1] = -1, 120
    raw.contents = wire.Contents(4, 2, 6, 2, 2, 252)
    levels = bytes(wire.MemcgLevel(*range(70, 84))) + bytes(wire.MemcgLevel(*range(90, 104)))

    assert decode(bytes(raw) + b"a\0b\0" + b"c\0" + b"d\0e\0f\0" + levels + ids(110, 111)) == VictimEvent(
        kind=Kind.SHARER,
        ktime=10,
        victim=Victim(
            task=Task(20, 21, 22, "worker"),
            parent=Task(23, 24, 25, "boss"),
            uid=30,
            start_boottime=31,
            oom_score_adj=32,
            threads=33,
            rss=Rss(file=40, anon=41, swap=42, shmem=43),
            rss_sum=Rss(file=44, anon=45, swap=46, shmem=47),
            pgtables_bytes=50,
            total_vm=51,
            hiwater_rss=52,
            pid_ns=53,
            net_ns=54,
            hostname="box",
        ),
        trigger=Task(26, 27, 28, "sixteen-letters-"),
        decision=Decision(60, 61, 62, 63, 64, 65, 66, 67, "Out of memory"),
        memcg_version=1,
        memcg=(MemcgLevel(*range(70, 84)), MemcgLevel(*range(90, 104))),
        memcg_path=("a", "b"),
        unified_id=11,
        unified_path=("c",),
        trigger_memcg_ids=(110, 111),
        trigger_memcg_path=("d", "e", "f"),
        stack=(0xFFFFFFFFFFFFFFFF, 120),
        signalled_at=9,
        exec_args=(b"a\0b\0c\0", 6),
    )


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_victim_event_is_decoded(kind):
    assert decode(bytes(unknown(kind.value))).kind is kind


@pytest.mark.parametrize("kind", [0, 8, -1, wire.UNKNOWN])
def test_an_unknown_kind_is_rejected(kind):
    with pytest.raises(DecodeError, match=f"^probe event of unknown kind {kind}$"):
        decode(bytes(unknown(kind)))


def test_zero_is_a_value_and_not_unknown():
    raw = unknown()
    raw.victim.uid = raw.victim.oom_score_adj = raw.victim.task.pid = 0
    raw.victim.rss[2] = 0

    event = decode(bytes(raw)).victim

    assert (event.uid, event.oom_score_adj, event.task.pid, event.rss.swap) == (0, 0, 0, 0)


def test_a_negative_rss_counter_becomes_zero():
    raw = unknown()
    raw.victim.rss[:] = (-5, 7, -1, 0)

    assert decode(bytes(raw)).victim.rss == Rss(file=0, anon=7, swap=0, shmem=0)


def test_the_root_cgroup_has_an_empty_path_and_an_unreadable_one_has_none():
    raw = unknown()
    raw.unified_id = raw.contents.levels = raw.contents.trigger_ids = 1
    root = decode(bytes(raw) + level(1) + ids(1))

    assert (root.memcg_path, root.unified_path, root.trigger_memcg_path) == ((), (), ())
    unreadable = decode(bytes(unknown()))
    assert (unreadable.memcg_path, unreadable.unified_path, unreadable.trigger_memcg_path) == (None, None, None)


def test_memcg_levels_end_at_the_first_unreadable_one():
    raw = unknown()
    raw.contents.levels = 3

    assert [found.id for found in decode(bytes(raw) + level(5) + level(wire.UNKNOWN) + level(6)).memcg] == [5]


def test_all_memcg_levels_are_decoded():
    raw = unknown()
    raw.contents.levels = raw.contents.trigger_ids = 128
    numbers = range(100, 228)

    event = decode(bytes(raw) + b"".join(map(level, numbers)) + ids(*numbers))

    assert [found.id for found in event.memcg] == list(numbers)
    assert event.trigger_memcg_ids == tuple(numbers)


@pytest.mark.parametrize("longest", range(3))
def test_a_path_that_is_too_long_is_none_and_has_no_bytes(longest):
    raw = unknown()
    raw.unified_id = 5
    lengths, names, paths = [4, 2, 6], [b"a\0b\0", b"c\0", b"d\0e\0f\0"], [("a", "b"), ("c",), ("d", "e", "f")]
    lengths[longest], names[longest], paths[longest] = wire.UNKNOWN, b"", None
    raw.contents = wire.Contents(*lengths, 1, 1)

    event = decode(bytes(raw) + b"".join(names) + level(5) + ids(5))

    assert [event.memcg_path, event.unified_path, event.trigger_memcg_path] == paths
    assert (event.memcg[0].id, event.unified_id, event.trigger_memcg_ids) == (5, 5, (5,))


def test_padding_of_the_perf_buffer_is_ignored():
    raw = unknown()
    raw.contents.memcg_path, raw.contents.levels = 2, 1

    assert decode(bytes(raw) + b"a\0" + level(5) + b"\xaa" * 6).memcg_path == ("a",)


def test_a_truncated_victim_event_is_rejected():
    whole = bytes(unknown())
    for length in range(1, FIXED):
        with pytest.raises(DecodeError, match=f"^probe event of {length} bytes: at least {FIXED} expected$"):
            decode(whole[:length])


def test_an_empty_record_is_rejected():
    with pytest.raises(DecodeError, match=r"^probe event of unknown kind 0$"):
        decode(b"")


@pytest.mark.parametrize(
    "lengths", [(5,), (2, 3), (2, 2, 1), (-1,), (4, -1), (1 << 62,), (2, 2, 0, 1), (0, 0, 0, -1), (0, 0, 0, 0, 1)]
)
def test_paths_and_levels_that_exceed_the_record_are_rejected(lengths):
    raw = unknown()
    raw.contents = wire.Contents(*lengths)

    with pytest.raises(DecodeError, match=r"^probe event with strings that exceed its size$"):
        decode(bytes(raw) + b"a\0b\0")


def test_a_record_truncated_within_a_path_is_rejected():
    raw = unknown()
    raw.contents.memcg_path = 8
    for length in range(8):
        with pytest.raises(DecodeError):
            decode(bytes(raw) + b"abc\0def\0"[:length])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ""),
        (b'a"b\\c', 'a"b\\c'),
        (b"a\nb\tc", "a\nb\tc"),
        (b"\x1b[31mred\x1b[m", "\x1b[31mred\x1b[m"),
        (b"\xff\xfe\x80bad", "\\xff\\xfe\\x80bad"),
        (b"cut na\xc3", "cut na\\xc3"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"\xc0\x80", "\\xc0\\x80"),
        (b"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"),
        ("naïve-名-\U0001f4a5".encode(), "naïve-名-\U0001f4a5"),
        (b"\xc2\x9b31m", "\x9b31m"),
        ("\u2028\u202e".encode(), "\u2028\u202e"),
    ],
)
def test_hostile_strings_are_decoded_without_loss(raw, expected):
    raw_event = unknown()
    raw_event.victim.task.comm = raw
    raw_event.contents.memcg_path, raw_event.contents.levels = len(raw) + 1, 1

    event = decode(bytes(raw_event) + raw + b"\0" + level(5))

    assert text(raw) == expected
    assert event.victim.task.comm == (expected or None)
    assert event.memcg_path == (expected,)


@given(st.binary(max_size=64))
def test_text_of_any_bytes_can_be_encoded_as_utf_8(raw):
    text(raw).encode("utf-8")


def numbers_and_texts(part: Any) -> list[object]:
    if is_dataclass(part):
        return [value for field in fields(part) for value in numbers_and_texts(getattr(part, field.name))]
    if isinstance(part, tuple):
        return [value for item in part for value in numbers_and_texts(item)]
    return [part]


@given(
    kind=st.sampled_from((0, 1, 2, 3, 8)),
    noise=st.binary(min_size=64, max_size=64),
    lengths=st.tuples(*[st.integers(-2, 12)] * 3, *[st.integers(-1, 2)] * 2),
    strings=st.binary(max_size=300),
    short=st.integers(0, 16),
)
@example(kind=2, noise=b"\xff" * 64, lengths=(4, 4, 4, 1, 1), strings=b"\xff" * 200, short=0)
def test_any_bytes_are_decoded_as_a_victim_event_or_rejected(kind, noise, lengths, strings, short):
    raw = wire.VictimEvent.from_buffer_copy((noise * (FIXED // 64 + 1))[:FIXED])
    raw.kind = kind
    raw.contents = wire.Contents(*lengths)

    with suppress(DecodeError):
        event = decode((bytes(raw) + strings)[: FIXED + len(strings) - short])
        assert wire.UNKNOWN not in numbers_and_texts((event.victim, event.trigger, event.decision, event.memcg))
        assert "" not in numbers_and_texts((event.victim, event.trigger, event.decision))


def ranking(*best: tuple[wire.Candidate, bytes], count: int | None = None, weighed: int = 7) -> bytes:
    """A ranking as the BPF program sends it: unused entries are stale, from an earlier kill."""
    raw = wire.Ranking(kind=wire.KIND_RANKING, ktime=9, weighed=weighed, count=len(best) if count is None else count)
    for index, (entry, _) in enumerate(best):
        raw.best[index] = entry
    for index in range(len(best), wire.MAX_CANDIDATES):
        raw.best[index] = wire.Candidate(999, 999, 0, 999, 999, b"stale")
    strings = b"".join(names for _, names in best)
    raw.used = len(strings)
    return bytes(raw) + strings


def candidate(pid: int, points: int, order: int, names: bytes = b"") -> tuple[wire.Candidate, bytes]:
    return wire.Candidate(pid, points, 0, order, len(names), b"worker"), names


def test_every_field_of_a_ranking_is_decoded():
    first = wire.Candidate(20, 21, 22, 1, 4, b"sixteen-letters-")
    second = wire.Candidate(30, 31, -1000, 2, 2, b"boss")

    assert decode(ranking((first, b"a\0b\0"), (second, b"c\0"), weighed=5)) == Ranking(
        ktime=9,
        weighed=5,
        best=(
            Candidate(pid=30, points=31, oom_score_adj=-1000, comm="boss", memcg_path=("c",)),
            Candidate(pid=20, points=21, oom_score_adj=22, comm="sixteen-letters-", memcg_path=("a", "b")),
        ),
    )


def test_candidates_are_in_the_kernels_order_the_later_of_equals_first():
    scanned = [(1, 500, 4), (2, -30, 1), (3, 900, 2), (4, 500, 6), (5, 500, 5), (6, 0, 3)]
    found = decode(ranking(*(candidate(*numbers, f"cgroup-{numbers[0]}\0".encode()) for numbers in scanned)))

    assert [(best.pid, best.points) for best in found.best] == [
        (3, 900),
        (4, 500),
        (5, 500),
        (1, 500),
        (6, 0),
        (2, -30),
    ]
    assert [best.memcg_path for best in found.best] == [(f"cgroup-{best.pid}",) for best in found.best]


def test_a_ranking_has_up_to_10_candidates():
    whole = decode(ranking(*(candidate(100 + i, i, i) for i in range(10)), weighed=4000))

    assert (whole.weighed, [best.pid for best in whole.best]) == (4000, list(range(109, 99, -1)))
    assert decode(ranking(weighed=0)) == Ranking(ktime=9, weighed=0, best=())


def test_unknown_values_of_a_candidate_become_none():
    unread = wire.Candidate(wire.UNKNOWN, 5, wire.UNKNOWN, 1, wire.UNKNOWN, b"")

    assert decode(ranking((unread, b""))).best == (Candidate(None, 5, None, None, None),)


def test_an_unknown_path_of_a_candidate_has_no_bytes():
    long = wire.Candidate(2, 20, 0, 2, wire.UNKNOWN, b"worker")

    found = decode(
        ranking(candidate(1, 30, 1, b"a\0"), (long, b""), candidate(3, 10, 3, b"b\0c\0"), candidate(4, 5, 4))
    )

    assert [best.memcg_path for best in found.best] == [("a",), None, ("b", "c"), ()]


@pytest.mark.parametrize("count", [-1, 11, 1 << 62, wire.UNKNOWN])
def test_a_ranking_with_an_impossible_count_is_rejected(count):
    with pytest.raises(DecodeError, match=f"^probe event with {count} candidates: at most 10 expected$"):
        decode(ranking(count=count))


def test_a_truncated_ranking_is_rejected():
    whole = ranking()
    for length in range(1, FIXED_RANKING):
        with pytest.raises(DecodeError, match=f"^probe event of {length} bytes: at least {FIXED_RANKING} expected$"):
            decode(whole[:length])


@pytest.mark.parametrize("length", [-1, 5, 1 << 62])
def test_a_path_of_a_candidate_that_exceeds_the_record_is_rejected(length):
    wrong = wire.Candidate(1, 5, 0, 1, length, b"worker")

    with pytest.raises(DecodeError, match=r"^probe event with strings that exceed its size$"):
        decode(ranking((wrong, b"a\0b\0")))


def test_a_ranking_truncated_within_a_path_is_rejected():
    whole = ranking(candidate(1, 5, 1, b"abc\0"), candidate(2, 6, 2, b"def\0"))
    for length in range(FIXED_RANKING, FIXED_RANKING + 8):
        with pytest.raises(DecodeError, match=r"^probe event with strings that exceed its size$"):
            decode(whole[:length])
    assert decode(whole + b"\xaa" * 6) == decode(whole)


@given(
    noise=st.binary(min_size=88, max_size=88),
    count=st.integers(-2, 12),
    lengths=st.lists(st.integers(-2, 12), min_size=10, max_size=10),
    strings=st.binary(max_size=64),
)
@example(noise=b"\xff" * 88, count=10, lengths=[4] * 10, strings=b"\xff" * 64)
def test_any_bytes_are_decoded_as_a_ranking_or_rejected(noise, count, lengths, strings):
    raw = wire.Ranking.from_buffer_copy((noise * (FIXED_RANKING // 88 + 1))[:FIXED_RANKING])
    raw.kind, raw.count = wire.KIND_RANKING, count
    for entry, length in zip(raw.best, lengths, strict=True):
        entry.path = length

    with suppress(DecodeError):
        found = decode(bytes(raw) + strings)
        assert len(found.best) == count
        assert [best.points for best in found.best] == sorted((best.points for best in found.best), reverse=True)
        assert "" not in [best.comm for best in found.best]
        assert wire.UNKNOWN not in numbers_and_texts(tuple((best.pid, best.oom_score_adj) for best in found.best))


@pytest.mark.parametrize(
    ("size", "expected"),
    [(wire.UNKNOWN, None), (0, (b"", 0)), (3, (b"a\0b", 3)), (256, (b"a\0b" + b"x" * 253, 256))],
)
def test_arguments_at_exec_have_their_size(size, expected):
    raw = unknown()
    ctypes.memmove(ctypes.addressof(raw) + wire.VictimEvent.exec_args.offset, b"a\0b" + b"x" * 253, 256)
    raw.exec_size = size

    assert decode(bytes(raw)).exec_args == expected


def test_longer_arguments_at_exec_are_cut_and_keep_their_full_size():
    raw = unknown()
    ctypes.memmove(ctypes.addressof(raw) + wire.VictimEvent.exec_args.offset, b"x" * 255 + b"y", 256)
    raw.exec_size = 300

    assert decode(bytes(raw)).exec_args == (b"x" * 255 + b"y", 300)


def unknown_context() -> wire.Context:
    """A context of which nothing could be read; unused sockets are stale, from an earlier victim."""
    raw = wire.Context.from_buffer_copy(wire.UNKNOWN.to_bytes(8, "little", signed=True) * (FIXED_CONTEXT // 8))
    raw.kind, raw.ktime, raw.pid, raw.signalled_at = wire.KIND_CONTEXT, 10, 11, 9
    raw.tcp = raw.udp = raw.unix_domain = raw.sockets = raw.used = raw.slots = 0
    raw.file_types[:] = (0,) * 16
    for socket in raw.socket:
        socket.fd, socket.local, socket.remote = 999, 999, 999
    return raw


def test_unknown_values_of_a_context_become_none():
    assert decode(bytes(unknown_context())) == Context(
        pid=11,
        ktime=10,
        signalled_at=9,
        arguments=None,
        arguments_size=None,
        arguments_end=None,
        environment=None,
        environment_size=None,
        working_directory=None,
        executable=None,
        descriptors=None,
    )


def whole_context() -> bytes:
    raw = unknown_context()
    raw.arguments_size, raw.arguments_end, raw.environment_size = 20, 21, 22
    raw.executable, raw.working_directory, raw.arguments, raw.environment = 10, 4, 7, 8
    raw.walked, raw.slots = 64, 64
    raw.file_types[:] = range(30, 46)
    raw.tcp, raw.udp, raw.unix_domain, raw.sockets = 50, 51, 52, 3
    raw.socket[0] = wire.Socket(60, 61, 62, 63, 64, 65, 4, 4)
    raw.socket[1] = wire.Socket(70, 71, 72, 73, 74, 75, 16, wire.UNKNOWN)
    raw.socket[2] = wire.Socket(80, 81, *[wire.UNKNOWN] * 5, 3)
    strings = b"exe\0bin\0\xff\0" + b"srv\0" + b"\1\2\3\4" + b"\5\6\7\0" + bytes(15) + b"\1" + b"\0ab" + b"a\0b c\0d"
    raw.used = len(strings) + 8
    return bytes(raw) + strings + b"A=1\0B=2\0"


def test_every_field_of_a_context_is_decoded():
    assert decode(whole_context()) == Context(
        pid=11,
        ktime=10,
        signalled_at=9,
        arguments=b"a\0b c\0d",
        arguments_size=20,
        arguments_end=21,
        environment=b"A=1\0B=2\0",
        environment_size=22,
        working_directory=("srv",),
        executable=("exe", "bin", "\\xff"),
        descriptors=Descriptors(
            kinds=tuple(range(30, 46)),
            tcp=50,
            udp=51,
            unix=52,
            all=True,
            sockets=(
                Socket(60, 61, 62, 63, b"\1\2\3\4", b"\5\6\7\0", 64, 65),
                Socket(70, 71, 72, 73, bytes(15) + b"\1", None, 74, 75),
                Socket(80, 81, None, None, None, b"\0ab", None, None),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("walked", "slots", "all_"), [(64, 64, True), (64, 128, False), (1024, 256, True), (0, 64, False)]
)
def test_descriptors_are_complete_only_if_the_whole_table_was_walked(walked, slots, all_):
    raw = unknown_context()
    raw.walked, raw.slots = walked, slots

    assert decode(bytes(raw)).descriptors == Descriptors((0,) * 16, 0, 0, 0, all_, ())


def test_the_root_directory_is_a_path_without_names():
    raw = unknown_context()
    raw.executable = raw.working_directory = 0

    found = decode(bytes(raw))

    assert (found.executable, found.working_directory) == ((), ())


def test_all_48_sockets_are_decoded():
    raw = unknown_context()
    raw.walked, raw.sockets = 64, 48
    for index, socket in enumerate(raw.socket):
        raw.socket[index] = wire.Socket(index, 1, 2, 3, 4, 5, 1, 1)
        assert socket.fd == index

    found = decode(bytes(raw) + bytes(range(96))).descriptors

    assert [(socket.fd, socket.local, socket.remote) for socket in found.sockets] == [
        (index, bytes([2 * index]), bytes([2 * index + 1])) for index in range(48)
    ]


@pytest.mark.parametrize("sockets", [-1, 49, 1 << 62, wire.UNKNOWN])
def test_a_context_with_an_impossible_number_of_sockets_is_rejected(sockets):
    raw = unknown_context()
    raw.sockets = sockets

    with pytest.raises(DecodeError, match=f"^probe event with {sockets} sockets: at most 48 expected$"):
        decode(bytes(raw))


def test_a_truncated_context_is_rejected():
    whole = whole_context()
    for length in range(8, len(whole)):
        reason = (
            "probe event with strings that exceed its size"
            if length >= FIXED_CONTEXT
            else f"probe event of {length} bytes: at least {FIXED_CONTEXT} expected"
        )
        with pytest.raises(DecodeError, match=f"^{reason}$"):
            decode(whole[:length])
    assert decode(whole + b"\xaa" * 7) == decode(whole)


@pytest.mark.parametrize("name", ["executable", "working_directory", "arguments", "environment"])
@pytest.mark.parametrize("length", [-1, 5, 1 << 62])
def test_a_string_of_a_context_that_exceeds_the_record_is_rejected(name, length):
    raw = unknown_context()
    setattr(raw, name, length)

    with pytest.raises(DecodeError, match=r"^probe event with strings that exceed its size$"):
        decode(bytes(raw) + b"a\0b\0")


@given(
    noise=st.binary(min_size=64, max_size=64),
    sockets=st.integers(-2, 50),
    lengths=st.lists(st.integers(-2, 6) | st.just(wire.UNKNOWN), min_size=100, max_size=100),
    strings=st.binary(max_size=300),
    short=st.integers(0, 16),
)
@example(noise=b"\xff" * 64, sockets=48, lengths=[1] * 100, strings=b"\xff" * 100, short=0)
def test_any_bytes_are_decoded_as_a_context_or_rejected(noise, sockets, lengths, strings, short):
    raw = wire.Context.from_buffer_copy((noise * (FIXED_CONTEXT // 64 + 1))[:FIXED_CONTEXT])
    raw.kind, raw.sockets = wire.KIND_CONTEXT, sockets
    raw.executable, raw.working_directory, raw.arguments, raw.environment = lengths[:4]
    for socket, local, remote in zip(raw.socket, lengths[4:52], lengths[52:], strict=True):
        socket.local, socket.remote = local, remote

    with suppress(DecodeError):
        found = decode((bytes(raw) + strings)[: FIXED_CONTEXT + len(strings) - short])
        assert wire.UNKNOWN not in (found.arguments_size, found.arguments_end, found.environment_size)
        if found.descriptors:
            assert len(found.descriptors.sockets) == sockets
            assert wire.UNKNOWN not in numbers_and_texts(
                tuple((socket.state, socket.protocol) for socket in found.descriptors.sockets)
            )


@pytest.mark.parametrize(("maxrss", "expected"), [(4, 4), (0, 0), (wire.UNKNOWN, None)])
def test_an_exit_is_decoded(maxrss, expected):
    raw = bytes(wire.Exit(wire.KIND_EXIT, 1, 2, 3, maxrss))

    assert decode(raw) == decode(raw + b"\xaa" * 4) == Exit(pid=2, ktime=1, signalled_at=3, maxrss=expected)


def test_a_truncated_exit_is_rejected():
    raw = bytes(wire.Exit(wire.KIND_EXIT, 1, 2, 3, 4))
    for length in range(8, 40):
        with pytest.raises(DecodeError, match=f"^probe event of {length} bytes: at least 40 expected$"):
            decode(raw[:length])


@pytest.mark.parametrize(("tid", "expected"), [(5, 5), (wire.UNKNOWN, None)])
def test_a_repeat_kill_is_decoded(tid, expected):
    raw = bytes(wire.RepeatKill(wire.KIND_REPEAT_KILL, 1, tid, 7))

    assert decode(raw) == decode(raw + b"\xaa" * 4) == RepeatKill(ktime=1, tid=expected, ordinal=7)


def test_a_truncated_repeat_kill_is_rejected():
    raw = bytes(wire.RepeatKill(wire.KIND_REPEAT_KILL, 1, 2, 3))
    for length in range(8, 32):
        with pytest.raises(DecodeError, match=f"^probe event of {length} bytes: at least 32 expected$"):
            decode(raw[:length])


@given(kind=st.integers(-1, 8), rest=st.binary(max_size=6000))
def test_any_bytes_of_any_kind_are_decoded_or_rejected(kind, rest):
    with suppress(DecodeError):
        decode(kind.to_bytes(8, "little", signed=True) + rest)


def cgroup_change(change: int, path: bytes, size: int | None = None) -> bytes:
    return struct.pack("=3q", change, 7, len(path) if size is None else size) + path + bytes(5)


@pytest.mark.parametrize(("change", "removed"), [(wire.CGROUP_MADE, False), (wire.CGROUP_REMOVED, True)])
def test_a_change_of_cgroups_has_its_path_without_the_padding(change, removed):
    decoded = decode_cgroup_change(cgroup_change(change, b"/docker/\xff\n"))

    assert decoded == CgroupChange(7, "/docker/\\xff\n", removed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(23),
        cgroup_change(0, b"/a"),
        cgroup_change(3, b"/a"),
        *(cgroup_change(1, b"/a", n) for n in (-1, 0, 8)),
    ],
)
def test_an_invalid_change_of_cgroups_is_a_decode_error(data):
    with pytest.raises(DecodeError):
        decode_cgroup_change(data)
