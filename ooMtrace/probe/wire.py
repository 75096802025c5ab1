# SPDX-License-Identifier: Apache-2.0
"""The Python mirror of bpf/events.h; a test compiles that file and proves the two equal."""

from __future__ import annotations

import ctypes

UNKNOWN = -(1 << 63)
LEVELS, FRAMES, BEST = 16, 12, 10

KINDS, SOCKETS, UNIX_SOCKETS = 16, 32, 16

KIND_DYING, KIND_KILLED, KIND_SHARER, KIND_RANKING, KIND_CONTEXT, KIND_EXIT, KIND_AGAIN = 1, 2, 3, 4, 5, 6, 7

S64 = ctypes.c_int64


class Task(ctypes.Structure):
    """`struct task`: one process or thread."""

    _fields_ = (("pid", S64), ("tid", S64), ("vpid", S64), ("comm", ctypes.c_char * 16))


class Victim(ctypes.Structure):
    """`struct victim`: what only the victim has."""

    _fields_ = (
        ("task", Task),
        ("parent", Task),
        ("uid", S64),
        ("start_boottime", S64),
        ("oom_score_adj", S64),
        ("threads", S64),
        ("rss", S64 * 4),
        ("rss_sum", S64 * 4),
        ("pgtables_bytes", S64),
        ("total_vm", S64),
        ("hiwater_rss", S64),
        ("pid_ns", S64),
        ("net_ns", S64),
        ("uts_ns", S64),
        ("nodename", ctypes.c_char * 65),
        ("pad", ctypes.c_char * 7),
    )


class MemcgLevel(ctypes.Structure):
    """`struct memcg_level`: one memory cgroup on the way to the root."""

    _fields_ = (
        ("id", S64),
        ("usage", S64),
        ("max", S64),
        ("high", S64),
        ("watermark", S64),
        ("swap_usage", S64),
        ("swap_max", S64),
        ("swappiness", S64),
        ("events_high", S64),
        ("events_max", S64),
        ("events_oom", S64),
        ("events_oom_kill", S64),
        ("events_oom_group_kill", S64),
        ("oom_group", S64),
    )


class Decision(ctypes.Structure):
    """`struct decision`: the kernel's oom_control."""

    _fields_ = (
        ("ktime", S64),
        ("constraint", S64),
        ("gfp_mask", S64),
        ("order", S64),
        ("totalpages", S64),
        ("chosen_points", S64),
        ("chosen_pid", S64),
        ("memcg_id", S64),
        ("message", ctypes.c_char * 48),
    )


class Paths(ctypes.Structure):
    """`struct paths`: the lengths of what lies in `strings`."""

    _fields_ = (("memcg", S64), ("unified", S64), ("trigger_memcg", S64), ("used", S64))


class VictimEvent(ctypes.Structure):
    """`struct sighting` without its strings, which have no fixed length."""

    _fields_ = (
        ("kind", S64),
        ("ktime", S64),
        ("memcg_version", S64),
        ("unified_id", S64),
        ("signalled_at", S64),
        ("counted", S64),
        ("victim", Victim),
        ("trigger", Task),
        ("decision", Decision),
        ("memcg", MemcgLevel * LEVELS),
        ("trigger_memcg_ids", S64 * LEVELS),
        ("stack", S64 * FRAMES),
        ("exec_size", S64),
        ("exec_args", ctypes.c_char * 256),
        ("paths", Paths),
    )


class Candidate(ctypes.Structure):
    """`struct candidate`: a process that the kernel weighed."""

    _fields_ = (
        ("pid", S64),
        ("points", S64),
        ("oom_score_adj", S64),
        ("order", S64),
        ("path", S64),
        ("comm", ctypes.c_char * 16),
    )


class Ranking(ctypes.Structure):
    """`struct ranking` without its strings."""

    _fields_ = (
        ("kind", S64),
        ("ktime", S64),
        ("weighed", S64),
        ("told", S64),
        ("used", S64),
        ("best", Candidate * BEST),
    )


class Socket(ctypes.Structure):
    """`struct socket`: one open socket."""

    _fields_ = (
        ("fd", S64),
        ("family", S64),
        ("protocol", S64),
        ("state", S64),
        ("local_port", S64),
        ("remote_port", S64),
        ("local", S64),
        ("remote", S64),
    )


class Context(ctypes.Structure):
    """`struct context` without its strings."""

    _fields_ = (
        ("kind", S64),
        ("ktime", S64),
        ("pid", S64),
        ("signalled_at", S64),
        ("arguments_size", S64),
        ("arguments_end", S64),
        ("environment_size", S64),
        ("executable", S64),
        ("working_directory", S64),
        ("arguments", S64),
        ("environment", S64),
        ("walked", S64),
        ("slots", S64),
        ("kinds", S64 * KINDS),
        ("tcp", S64),
        ("udp", S64),
        ("unix_domain", S64),
        ("sockets", S64),
        ("used", S64),
        ("socket", Socket * (SOCKETS + UNIX_SOCKETS)),
    )


class Exit(ctypes.Structure):
    """`struct exit`: a victim's last thread has exited."""

    _fields_ = (("kind", S64), ("ktime", S64), ("pid", S64), ("signalled_at", S64), ("maxrss", S64))


class Again(ctypes.Structure):
    """`struct again`: a victim has been killed and counted once more."""

    _fields_ = (("kind", S64), ("ktime", S64), ("tid", S64), ("counted", S64))
