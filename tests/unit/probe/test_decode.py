# SPDX-License-Identifier: Apache-2.0
"""From bytes to what has been seen: nothing is invented, nothing is lost, and nonsense is refused."""

from __future__ import annotations

import ctypes
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
    Rss,
    Socket,
    Task,
    Victim,
    VictimEvent,
)
from ooMtrace.probe import wire
from ooMtrace.probe.decode import decode, text

FIXED = ctypes.sizeof(wire.VictimEvent)
FIXED_RANKING = ctypes.sizeof(wire.Ranking)
FIXED_CONTEXT = ctypes.sizeof(wire.Context)


def unknown(kind: int = wire.KIND_KILLED) -> wire.VictimEvent:
    """A record in which nothing but its kind and time could be read, as the kernel side leaves it."""
    raw = wire.VictimEvent.from_buffer_copy(wire.UNKNOWN.to_bytes(8, "little", signed=True) * (FIXED // 8))
    raw.kind, raw.ktime = kind, 1
    for task in (raw.victim.task, raw.victim.parent, raw.trigger):
        task.comm = bytes(16)
    raw.victim.nodename = bytes(65)
    raw.decision.message = bytes(48)
    ctypes.memset(ctypes.addressof(raw.stack), 0, ctypes.sizeof(raw.stack))
    ctypes.memset(ctypes.addressof(raw.paths), 0, ctypes.sizeof(raw.paths))
    return raw


def test_what_could_not_be_read_is_none_everywhere():
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


def test_every_number_and_string_arrives_where_it_belongs():
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
    raw.memcg[0] = wire.MemcgLevel(*range(70, 84))
    raw.memcg[1] = wire.MemcgLevel(*range(90, 104))
    raw.trigger_memcg_ids[0], raw.trigger_memcg_ids[1] = 110, 111
    raw.stack[0], raw.stack[1] = -1, 120
    raw.paths = wire.Paths(4, 2, 6, 12)

    assert decode(bytes(raw) + b"a\0b\0" + b"c\0" + b"d\0e\0f\0") == VictimEvent(
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
def test_every_kind_is_known(kind):
    assert decode(bytes(unknown(kind.value))).kind is kind


@pytest.mark.parametrize("kind", [0, 8, -1, wire.UNKNOWN])
def test_another_kind_is_refused(kind):
    with pytest.raises(DecodeError, match=f"^a record of the unknown kind {kind} came from the kernel$"):
        decode(bytes(unknown(kind)))


def test_zero_is_a_value_and_not_unknown():
    raw = unknown()
    raw.victim.uid = raw.victim.oom_score_adj = raw.victim.task.pid = 0
    raw.victim.rss[2] = 0

    seen = decode(bytes(raw)).victim

    assert (seen.uid, seen.oom_score_adj, seen.task.pid, seen.rss.swap) == (0, 0, 0, 0)


def test_a_counter_below_zero_is_zero_as_the_kernel_takes_it():
    raw = unknown()
    raw.victim.rss[:] = (-5, 7, -1, 0)

    assert decode(bytes(raw)).victim.rss == Rss(file=0, anon=7, swap=0, shmem=0)


def test_the_root_cgroup_has_an_empty_path_and_an_unreadable_one_has_none():
    raw = unknown()
    raw.memcg[0].id = raw.unified_id = raw.trigger_memcg_ids[0] = 1
    root = decode(bytes(raw))

    assert (root.memcg_path, root.unified_path, root.trigger_memcg_path) == ((), (), ())
    unreadable = decode(bytes(unknown()))
    assert (unreadable.memcg_path, unreadable.unified_path, unreadable.trigger_memcg_path) == (None, None, None)


def test_levels_end_at_the_first_that_could_not_be_read():
    raw = unknown()
    raw.memcg[0].id, raw.memcg[2].id = 5, 6

    assert [level.id for level in decode(bytes(raw)).memcg] == [5]


def test_all_sixteen_levels_are_taken():
    raw = unknown()
    for i in range(16):
        raw.memcg[i].id = raw.trigger_memcg_ids[i] = 100 + i

    seen = decode(bytes(raw))

    assert [level.id for level in seen.memcg] == list(range(100, 116))
    assert seen.trigger_memcg_ids == tuple(range(100, 116))


@pytest.mark.parametrize("longest", range(3))
def test_a_path_that_is_too_long_is_not_known_and_takes_no_room(longest):
    raw = unknown()
    raw.memcg[0].id = raw.unified_id = raw.trigger_memcg_ids[0] = 5
    lengths, names, paths = [4, 2, 6], [b"a\0b\0", b"c\0", b"d\0e\0f\0"], [("a", "b"), ("c",), ("d", "e", "f")]
    lengths[longest], names[longest], paths[longest] = wire.UNKNOWN, b"", None
    raw.paths = wire.Paths(*lengths, len(b"".join(names)))

    seen = decode(bytes(raw) + b"".join(names))

    assert [seen.memcg_path, seen.unified_path, seen.trigger_memcg_path] == paths
    assert (seen.memcg[0].id, seen.unified_id, seen.trigger_memcg_ids) == (5, 5, (5,))


def test_padding_of_the_perf_buffer_is_ignored():
    raw = unknown()
    raw.memcg[0].id = 5
    raw.paths.memcg = 2

    assert decode(bytes(raw) + b"a\0" + b"\xaa" * 6).memcg_path == ("a",)


def test_every_shorter_record_is_refused():
    whole = bytes(unknown())
    for length in range(1, FIXED):
        with pytest.raises(
            DecodeError, match=f"^a record of {length} bytes came from the kernel, {FIXED} are the least$"
        ):
            decode(whole[:length])


def test_an_empty_record_is_of_no_kind():
    with pytest.raises(DecodeError, match=r"^a record of the unknown kind 0 came from the kernel$"):
        decode(b"")


@pytest.mark.parametrize("lengths", [(5, 0, 0), (2, 3, 0), (2, 2, 1), (-1, 0, 0), (4, -1, 0), (1 << 62, 0, 0)])
def test_paths_that_do_not_fit_are_refused(lengths):
    raw = unknown()
    raw.paths = wire.Paths(*lengths, 4)

    with pytest.raises(DecodeError, match=r"^a record from the kernel ends too early$"):
        decode(bytes(raw) + b"a\0b\0")


def test_every_cut_within_a_path_is_refused():
    raw = unknown()
    raw.memcg[0].id = 5
    raw.paths.memcg = 8
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
def test_hostile_strings_lose_nothing(raw, expected):
    record = unknown()
    record.victim.task.comm = raw
    record.memcg[0].id = 5
    record.paths.memcg = len(raw) + 1

    seen = decode(bytes(record) + raw + b"\0")

    assert text(raw) == expected
    assert seen.victim.task.comm == (expected or None)
    assert seen.memcg_path == (expected,)


@given(st.binary(max_size=64))
def test_any_bytes_become_text_that_utf_8_can_carry(raw):
    text(raw).encode("utf-8")


def numbers_and_texts(part: Any) -> list[object]:
    if is_dataclass(part):
        return [value for one in fields(part) for value in numbers_and_texts(getattr(part, one.name))]
    if isinstance(part, tuple):
        return [value for one in part for value in numbers_and_texts(one)]
    return [part]


@given(
    kind=st.sampled_from((0, 1, 2, 3, 8)),
    noise=st.binary(min_size=64, max_size=64),
    lengths=st.tuples(*[st.integers(-2, 12)] * 3),
    strings=st.binary(max_size=32),
    short=st.integers(0, 16),
)
@example(kind=2, noise=b"\xff" * 64, lengths=(4, 4, 4), strings=b"\xff" * 32, short=0)
def test_any_bytes_are_a_sighting_or_refused(kind, noise, lengths, strings, short):
    raw = wire.VictimEvent.from_buffer_copy((noise * (FIXED // 64 + 1))[:FIXED])
    raw.kind = kind
    raw.paths = wire.Paths(*lengths, 0)

    with suppress(DecodeError):
        seen = decode((bytes(raw) + strings)[: FIXED + len(strings) - short])
        assert wire.UNKNOWN not in numbers_and_texts((seen.victim, seen.trigger, seen.decision, seen.memcg))
        assert "" not in numbers_and_texts((seen.victim, seen.trigger, seen.decision))


def ranking(*best: tuple[wire.Candidate, bytes], told: int | None = None, weighed: int = 7) -> bytes:
    """A ranking as the kernel side sends it: what lies beyond those told of is left from another OOM."""
    raw = wire.Ranking(kind=wire.KIND_RANKING, ktime=9, weighed=weighed, told=len(best) if told is None else told)
    for place, (one, _) in enumerate(best):
        raw.best[place] = one
    for place in range(len(best), wire.BEST):
        raw.best[place] = wire.Candidate(999, 999, 0, 999, 999, b"stale")
    strings = b"".join(names for _, names in best)
    raw.used = len(strings)
    return bytes(raw) + strings


def candidate(pid: int, points: int, order: int, names: bytes = b"") -> tuple[wire.Candidate, bytes]:
    return wire.Candidate(pid, points, 0, order, len(names), b"worker"), names


def test_every_fact_of_a_ranking_arrives_where_it_belongs():
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


def test_a_ranking_is_in_the_kernels_order_and_of_equals_the_later_comes_first():
    places = [(1, 500, 4), (2, -30, 1), (3, 900, 2), (4, 500, 6), (5, 500, 5), (6, 0, 3)]
    found = decode(ranking(*(candidate(*place, f"cgroup-{place[0]}\0".encode()) for place in places)))

    assert [(one.pid, one.points) for one in found.best] == [(3, 900), (4, 500), (5, 500), (1, 500), (6, 0), (2, -30)]
    assert [one.memcg_path for one in found.best] == [(f"cgroup-{one.pid}",) for one in found.best]


def test_all_ten_candidates_are_taken_and_none_is_an_answer_too():
    whole = decode(ranking(*(candidate(100 + i, i, i) for i in range(10)), weighed=4000))

    assert (whole.weighed, [one.pid for one in whole.best]) == (4000, list(range(109, 99, -1)))
    assert decode(ranking(weighed=0)) == Ranking(ktime=9, weighed=0, best=())


def test_what_could_not_be_read_of_a_candidate_is_none():
    unread = wire.Candidate(wire.UNKNOWN, 5, wire.UNKNOWN, 1, wire.UNKNOWN, b"")

    assert decode(ranking((unread, b""))).best == (Candidate(None, 5, None, None, None),)


def test_a_candidates_path_that_is_not_known_takes_no_room():
    long = wire.Candidate(2, 20, 0, 2, wire.UNKNOWN, b"worker")

    found = decode(
        ranking(candidate(1, 30, 1, b"a\0"), (long, b""), candidate(3, 10, 3, b"b\0c\0"), candidate(4, 5, 4))
    )

    assert [one.memcg_path for one in found.best] == [("a",), None, ("b", "c"), ()]


@pytest.mark.parametrize("told", [-1, 11, 1 << 62, wire.UNKNOWN])
def test_a_ranking_of_more_candidates_than_there_are_is_refused(told):
    with pytest.raises(DecodeError, match=f"^a record from the kernel tells of {told} candidates$"):
        decode(ranking(told=told))


def test_every_shorter_ranking_is_refused():
    whole = ranking()
    for length in range(1, FIXED_RANKING):
        with pytest.raises(
            DecodeError, match=f"^a record of {length} bytes came from the kernel, {FIXED_RANKING} are the least$"
        ):
            decode(whole[:length])


@pytest.mark.parametrize("length", [-1, 5, 1 << 62])
def test_a_candidates_path_that_does_not_fit_is_refused(length):
    wrong = wire.Candidate(1, 5, 0, 1, length, b"worker")

    with pytest.raises(DecodeError, match=r"^a record from the kernel ends too early$"):
        decode(ranking((wrong, b"a\0b\0")))


def test_every_cut_within_a_candidates_path_is_refused():
    whole = ranking(candidate(1, 5, 1, b"abc\0"), candidate(2, 6, 2, b"def\0"))
    for length in range(FIXED_RANKING, FIXED_RANKING + 8):
        with pytest.raises(DecodeError, match=r"^a record from the kernel ends too early$"):
            decode(whole[:length])
    assert decode(whole + b"\xaa" * 6) == decode(whole)


@given(
    noise=st.binary(min_size=88, max_size=88),
    told=st.integers(-2, 12),
    lengths=st.lists(st.integers(-2, 12), min_size=10, max_size=10),
    strings=st.binary(max_size=64),
)
@example(noise=b"\xff" * 88, told=10, lengths=[4] * 10, strings=b"\xff" * 64)
def test_any_bytes_are_a_ranking_or_refused(noise, told, lengths, strings):
    raw = wire.Ranking.from_buffer_copy((noise * (FIXED_RANKING // 88 + 1))[:FIXED_RANKING])
    raw.kind, raw.told = wire.KIND_RANKING, told
    for one, length in zip(raw.best, lengths, strict=True):
        one.path = length

    with suppress(DecodeError):
        found = decode(bytes(raw) + strings)
        assert len(found.best) == told
        assert [one.points for one in found.best] == sorted((one.points for one in found.best), reverse=True)
        assert "" not in [one.comm for one in found.best]
        assert wire.UNKNOWN not in numbers_and_texts(tuple((one.pid, one.oom_score_adj) for one in found.best))


@pytest.mark.parametrize(
    ("size", "expected"),
    [(wire.UNKNOWN, None), (0, (b"", 0)), (3, (b"a\0b", 3)), (256, (b"a\0b" + b"x" * 253, 256))],
)
def test_arguments_at_exec_are_as_many_as_there_were(size, expected):
    raw = unknown()
    ctypes.memmove(ctypes.addressof(raw) + wire.VictimEvent.exec_args.offset, b"a\0b" + b"x" * 253, 256)
    raw.exec_size = size

    assert decode(bytes(raw)).exec_args == expected


def test_longer_arguments_at_exec_are_cut_and_their_size_is_known():
    raw = unknown()
    ctypes.memmove(ctypes.addressof(raw) + wire.VictimEvent.exec_args.offset, b"x" * 255 + b"y", 256)
    raw.exec_size = 300

    assert decode(bytes(raw)).exec_args == (b"x" * 255 + b"y", 300)


def unknown_context() -> wire.Context:
    """A context of which nothing could be read; what lies beyond the sockets told of is left from another victim."""
    raw = wire.Context.from_buffer_copy(wire.UNKNOWN.to_bytes(8, "little", signed=True) * (FIXED_CONTEXT // 8))
    raw.kind, raw.ktime, raw.pid, raw.signalled_at = wire.KIND_CONTEXT, 10, 11, 9
    raw.tcp = raw.udp = raw.unix_domain = raw.sockets = raw.used = raw.slots = 0
    raw.kinds[:] = (0,) * 16
    for one in raw.socket:
        one.fd, one.local, one.remote = 999, 999, 999
    return raw


def test_a_context_of_which_nothing_could_be_read_is_none_everywhere():
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
    raw.kinds[:] = range(30, 46)
    raw.tcp, raw.udp, raw.unix_domain, raw.sockets = 50, 51, 52, 3
    raw.socket[0] = wire.Socket(60, 61, 62, 63, 64, 65, 4, 4)
    raw.socket[1] = wire.Socket(70, 71, 72, 73, 74, 75, 16, wire.UNKNOWN)
    raw.socket[2] = wire.Socket(80, 81, *[wire.UNKNOWN] * 5, 3)
    strings = b"exe\0bin\0\xff\0" + b"srv\0" + b"\1\2\3\4" + b"\5\6\7\0" + bytes(15) + b"\1" + b"\0ab" + b"a\0b c\0d"
    raw.used = len(strings) + 8
    return bytes(raw) + strings + b"A=1\0B=2\0"


def test_every_fact_of_a_context_arrives_where_it_belongs():
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
def test_a_table_is_known_to_the_end_only_if_it_was_walked_to_there(walked, slots, all_):
    raw = unknown_context()
    raw.walked, raw.slots = walked, slots

    assert decode(bytes(raw)).descriptors == Descriptors((0,) * 16, 0, 0, 0, all_, ())


def test_the_root_is_a_path_without_names():
    raw = unknown_context()
    raw.executable = raw.working_directory = 0

    found = decode(bytes(raw))

    assert (found.executable, found.working_directory) == ((), ())


def test_all_48_sockets_are_taken():
    raw = unknown_context()
    raw.walked, raw.sockets = 64, 48
    for place, one in enumerate(raw.socket):
        raw.socket[place] = wire.Socket(place, 1, 2, 3, 4, 5, 1, 1)
        assert one.fd == place

    found = decode(bytes(raw) + bytes(range(96))).descriptors

    assert [(one.fd, one.local, one.remote) for one in found.sockets] == [
        (place, bytes([2 * place]), bytes([2 * place + 1])) for place in range(48)
    ]


@pytest.mark.parametrize("sockets", [-1, 49, 1 << 62, wire.UNKNOWN])
def test_a_context_of_more_sockets_than_there_are_is_refused(sockets):
    raw = unknown_context()
    raw.sockets = sockets

    with pytest.raises(DecodeError, match=f"^a record from the kernel tells of {sockets} sockets$"):
        decode(bytes(raw))


def test_every_cut_of_a_context_is_refused():
    whole = whole_context()
    for length in range(8, len(whole)):
        reason = (
            "a record from the kernel ends too early"
            if length >= FIXED_CONTEXT
            else f"a record of {length} bytes came from the kernel, {FIXED_CONTEXT} are the least"
        )
        with pytest.raises(DecodeError, match=f"^{reason}$"):
            decode(whole[:length])
    assert decode(whole + b"\xaa" * 7) == decode(whole)


@pytest.mark.parametrize("name", ["executable", "working_directory", "arguments", "environment"])
@pytest.mark.parametrize("length", [-1, 5, 1 << 62])
def test_a_piece_that_does_not_fit_is_refused(name, length):
    raw = unknown_context()
    setattr(raw, name, length)

    with pytest.raises(DecodeError, match=r"^a record from the kernel ends too early$"):
        decode(bytes(raw) + b"a\0b\0")


@given(
    noise=st.binary(min_size=64, max_size=64),
    sockets=st.integers(-2, 50),
    lengths=st.lists(st.integers(-2, 6) | st.just(wire.UNKNOWN), min_size=100, max_size=100),
    strings=st.binary(max_size=300),
    short=st.integers(0, 16),
)
@example(noise=b"\xff" * 64, sockets=48, lengths=[1] * 100, strings=b"\xff" * 100, short=0)
def test_any_bytes_are_a_context_or_refused(noise, sockets, lengths, strings, short):
    raw = wire.Context.from_buffer_copy((noise * (FIXED_CONTEXT // 64 + 1))[:FIXED_CONTEXT])
    raw.kind, raw.sockets = wire.KIND_CONTEXT, sockets
    raw.executable, raw.working_directory, raw.arguments, raw.environment = lengths[:4]
    for one, local, remote in zip(raw.socket, lengths[4:52], lengths[52:], strict=True):
        one.local, one.remote = local, remote

    with suppress(DecodeError):
        found = decode((bytes(raw) + strings)[: FIXED_CONTEXT + len(strings) - short])
        assert wire.UNKNOWN not in (found.arguments_size, found.arguments_end, found.environment_size)
        if found.descriptors:
            assert len(found.descriptors.sockets) == sockets
            assert wire.UNKNOWN not in numbers_and_texts(
                tuple((one.state, one.protocol) for one in found.descriptors.sockets)
            )


@pytest.mark.parametrize(("maxrss", "expected"), [(4, 4), (0, 0), (wire.UNKNOWN, None)])
def test_an_exit_arrives(maxrss, expected):
    raw = bytes(wire.Exit(wire.KIND_EXIT, 1, 2, 3, maxrss))

    assert decode(raw) == decode(raw + b"\xaa" * 4) == Exit(pid=2, ktime=1, signalled_at=3, maxrss=expected)


def test_every_shorter_exit_is_refused():
    raw = bytes(wire.Exit(wire.KIND_EXIT, 1, 2, 3, 4))
    for length in range(8, 40):
        with pytest.raises(DecodeError, match=f"^a record of {length} bytes came from the kernel, 40 are the least$"):
            decode(raw[:length])


@given(kind=st.integers(-1, 8), rest=st.binary(max_size=6000))
def test_any_bytes_at_all_are_decoded_or_refused(kind, rest):
    with suppress(DecodeError):
        decode(kind.to_bytes(8, "little", signed=True) + rest)
