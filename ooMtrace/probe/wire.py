# SPDX-License-Identifier: Apache-2.0
"""The Python mirror of bpf/events.h; a test compiles that file and compares the two."""

from __future__ import annotations

import ctypes

UNKNOWN = -(1 << 63)
COMM_LEN, NODENAME_LEN, MESSAGE_LEN, EXEC_LEN, ARGUMENTS_LEN = 16, 65, 48, 256, 4096
MAX_CGROUPS, MAX_CANDIDATES, MAX_FRAMES, MAX_FILE_TYPES = 128, 10, 12, 16
MAX_INET_SOCKETS, MAX_UNIX_SOCKETS, MAX_UNIX_WALKED = 32, 16, 64

KIND_DYING, KIND_KILLED, KIND_SHARER, KIND_RANKING, KIND_CONTEXT, KIND_EXIT, KIND_REPEAT_KILL = 1, 2, 3, 4, 5, 6, 7
KIND_SIGKILL = 8

CGROUP_PATH_LEN = 512
CGROUP_MADE, CGROUP_REMOVED = 1, 2

S64 = ctypes.c_int64


class Task(ctypes.Structure):
    """`struct task`: the identity of a process or thread."""

    _fields_ = (("pid", S64), ("tid", S64), ("vpid", S64), ("comm", ctypes.c_char * COMM_LEN))


class Victim(ctypes.Structure):
    """`struct victim`: facts recorded of the victim only."""

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
        ("nodename", ctypes.c_char * NODENAME_LEN),
        ("pad", ctypes.c_char * 7),
    )


class MemcgLevel(ctypes.Structure):
    """`struct memcg_level`: one memory cgroup between the victim's own and the root."""

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
    """`struct decision`: struct oom_control on entry of oom_kill_process()."""

    _fields_ = (
        ("ktime", S64),
        ("constraint", S64),
        ("gfp_mask", S64),
        ("order", S64),
        ("totalpages", S64),
        ("chosen_points", S64),
        ("chosen_pid", S64),
        ("memcg_id", S64),
        ("message", ctypes.c_char * MESSAGE_LEN),
    )


class Contents(ctypes.Structure):
    """`struct contents`: the lengths of the paths in `strings`, and how many levels and ids follow them."""

    _fields_ = (
        ("memcg_path", S64),
        ("unified_path", S64),
        ("trigger_path", S64),
        ("levels", S64),
        ("trigger_ids", S64),
        ("used", S64),
    )


class VictimEvent(ctypes.Structure):
    """`struct victim_event` without its strings (paths, memory cgroups), whose length varies."""

    _fields_ = (
        ("kind", S64),
        ("ktime", S64),
        ("memcg_version", S64),
        ("unified_id", S64),
        ("signalled_at", S64),
        ("ordinal", S64),
        ("victim", Victim),
        ("trigger", Task),
        ("decision", Decision),
        ("stack", S64 * MAX_FRAMES),
        ("exec_size", S64),
        ("exec_args", ctypes.c_char * EXEC_LEN),
        ("contents", Contents),
    )


class Candidate(ctypes.Structure):
    """`struct candidate`: a process that the kernel weighed."""

    _fields_ = (
        ("pid", S64),
        ("points", S64),
        ("oom_score_adj", S64),
        ("order", S64),
        ("path", S64),
        ("comm", ctypes.c_char * COMM_LEN),
    )


class Ranking(ctypes.Structure):
    """`struct ranking` without its strings."""

    _fields_ = (
        ("kind", S64),
        ("ktime", S64),
        ("weighed", S64),
        ("count", S64),
        ("used", S64),
        ("best", Candidate * MAX_CANDIDATES),
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
        ("file_types", S64 * MAX_FILE_TYPES),
        ("tcp", S64),
        ("udp", S64),
        ("unix_domain", S64),
        ("sockets", S64),
        ("used", S64),
        ("socket", Socket * (MAX_INET_SOCKETS + MAX_UNIX_SOCKETS)),
    )


class Exit(ctypes.Structure):
    """`struct exit`: the last thread of a victim has exited."""

    _fields_ = (("kind", S64), ("ktime", S64), ("pid", S64), ("signalled_at", S64), ("maxrss", S64))


class RepeatKill(ctypes.Structure):
    """`struct repeat_kill`: the kernel killed and counted a marked victim a second time."""

    _fields_ = (("kind", S64), ("ktime", S64), ("tid", S64), ("ordinal", S64))


class CgroupChange(ctypes.Structure):
    """`struct cgroup_change` without its path."""

    _fields_ = (("change", S64), ("ktime", S64), ("size", S64))


class Sigkill(ctypes.Structure):
    """`struct sigkill` without its strings."""

    _fields_ = (
        ("kind", S64),
        ("ktime", S64),
        ("cgroup_kill", S64),
        ("memcg_version", S64),
        ("memcg_id", S64),
        ("unified_id", S64),
        ("sender_uid", S64),
        ("sender", Task),
        ("victim", Victim),
        ("memcg_path", S64),
        ("unified_path", S64),
        ("sender_memcg_path", S64),
        ("sender_unified_path", S64),
        ("used", S64),
        ("exec_size", S64),
        ("exec_args", ctypes.c_char * EXEC_LEN),
    )
