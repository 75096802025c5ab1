# SPDX-License-Identifier: Apache-2.0
"""The columns of oomtrace's lines: polars.read_ndjson(FILE, schema=NATIVE).

Written by `make schemas` from the record's definition. Read by polars. docs/fleet.md shows how to use it.
"""

import polars as pl

TIME = pl.Datetime("us", "UTC")

# oom.memcg.stat is JSON text. container.labels and process.environment have no columns, for which polars has no type,
# and it does not escape backslashes where it makes JSON text of objects.
NATIVE = {
    "schema": pl.String,
    "event": pl.String,
    "id": pl.String,
    "seq": pl.Int128,
    "observed": TIME,
    "severity": pl.String,
    "message": pl.String,
    "fidelity": pl.String,
    "output_dropped_before": pl.Int128,
    "host": pl.Struct(
        {
            "name": pl.String,
            "boot_id": pl.String,
            "kernel": pl.String,
        }
    ),
    "lost": pl.Struct(
        {
            "count": pl.Int128,
            "from": TIME,
            "to": TIME,
        }
    ),
    "time": TIME,
    "derived": pl.List(pl.String),
    "missing": pl.List(pl.String),
    "truncated": pl.List(pl.String),
    "redacted": pl.List(pl.String),
    "withheld": pl.List(pl.String),
    "dropped_before": pl.Int128,
    "oom": pl.Struct(
        {
            "incident": pl.String,
            "number": pl.Int128,
            "verdict": pl.String,
            "reason": pl.String,
            "scope": pl.String,
            "constraint": pl.String,
            "nodemask": pl.String,
            "cpuset": pl.String,
            "mems_allowed": pl.String,
            "gfp_mask": pl.Struct(
                {
                    "raw": pl.String,
                    "flags": pl.List(pl.String),
                }
            ),
            "order": pl.Int128,
            "points": pl.Struct(
                {
                    "total": pl.Int128,
                    "rss": pl.Int128,
                    "swap": pl.Int128,
                    "page_tables": pl.Int128,
                    "adj": pl.Int128,
                    "exact": pl.Boolean,
                }
            ),
            "score": pl.Int128,
            "limit_bytes": pl.Int128,
            "limit_owner": pl.String,
            "trigger": pl.Struct(
                {
                    "pid": pl.Int128,
                    "tid": pl.Int128,
                    "comm": pl.String,
                    "cgroup": pl.String,
                }
            ),
            "memcg": pl.Struct(
                {
                    "path": pl.String,
                    "id": pl.String,
                    "version": pl.Int128,
                    "usage": pl.Int128,
                    "limit": pl.Int128,
                    "high": pl.Int128,
                    "peak": pl.Int128,
                    "swap": pl.Int128,
                    "swap_limit": pl.Int128,
                    "events": pl.Struct(
                        {
                            "high": pl.Int128,
                            "max": pl.Int128,
                            "oom": pl.Int128,
                            "oom_kill": pl.Int128,
                            "oom_group_kill": pl.Int128,
                        }
                    ),
                    "stat": pl.String,
                }
            ),
            "group": pl.Struct(
                {
                    "path": pl.String,
                    "size": pl.Int128,
                    "set_by": pl.String,
                }
            ),
            "weighed": pl.Int128,
            "candidates": pl.List(
                pl.Struct(
                    {
                        "pid": pl.Int128,
                        "comm": pl.String,
                        "points": pl.Int128,
                        "oom_score_adj": pl.Int128,
                        "memory": pl.Int128,
                        "cgroup": pl.String,
                    }
                )
            ),
        }
    ),
    "process": pl.Struct(
        {
            "pid": pl.Int128,
            "tid": pl.Int128,
            "vpid": pl.Int128,
            "comm": pl.String,
            "parent": pl.Struct(
                {
                    "pid": pl.Int128,
                    "vpid": pl.Int128,
                    "comm": pl.String,
                }
            ),
            "user": pl.Struct(
                {
                    "id": pl.Int128,
                    "name": pl.String,
                }
            ),
            "creation": pl.Struct(
                {
                    "time": TIME,
                }
            ),
            "threads": pl.Int128,
            "oom_score_adj": pl.Int128,
            "memory": pl.Struct(
                {
                    "anon": pl.Int128,
                    "file": pl.Int128,
                    "shmem": pl.Int128,
                    "swap": pl.Int128,
                    "page_tables": pl.Int128,
                    "total_vm": pl.Int128,
                    "peak_rss": pl.Int128,
                }
            ),
            "title": pl.String,
            "command_args": pl.List(pl.String),
            "executable": pl.Struct(
                {
                    "path": pl.String,
                }
            ),
            "working_directory": pl.String,
            "open_files": pl.Struct(
                {
                    "total": pl.Int128,
                    "regular": pl.Int128,
                    "directory": pl.Int128,
                    "device": pl.Int128,
                    "pipe": pl.Int128,
                    "socket": pl.Int128,
                    "anonymous": pl.Int128,
                    "tcp": pl.Int128,
                    "udp": pl.Int128,
                    "unix": pl.Int128,
                    "incomplete": pl.Boolean,
                }
            ),
            "connections": pl.List(
                pl.Struct(
                    {
                        "fd": pl.Int128,
                        "transport": pl.String,
                        "state": pl.String,
                        "local": pl.Struct(
                            {
                                "address": pl.String,
                                "port": pl.Int128,
                            }
                        ),
                        "remote": pl.Struct(
                            {
                                "address": pl.String,
                                "port": pl.Int128,
                            }
                        ),
                        "service": pl.String,
                    }
                )
            ),
        }
    ),
    "namespace": pl.Struct(
        {
            "hostname": pl.String,
            "pid_ns": pl.String,
            "net_ns": pl.String,
            "addresses": pl.List(pl.String),
        }
    ),
    "cgroup": pl.Struct(
        {
            "path": pl.String,
            "id": pl.String,
            "version": pl.Int128,
            "v2": pl.Struct(
                {
                    "path": pl.String,
                    "id": pl.String,
                }
            ),
        }
    ),
    "container": pl.Struct(
        {
            "id": pl.String,
            "runtime": pl.String,
            "name": pl.String,
            "image": pl.Struct(
                {
                    "name": pl.String,
                }
            ),
            "project": pl.String,
            "pod": pl.String,
            "parents": pl.List(
                pl.Struct(
                    {
                        "id": pl.String,
                        "runtime": pl.String,
                    }
                )
            ),
        }
    ),
    "k8s": pl.Struct(
        {
            "namespace": pl.Struct(
                {
                    "name": pl.String,
                }
            ),
            "pod": pl.Struct(
                {
                    "uid": pl.String,
                    "name": pl.String,
                }
            ),
            "container": pl.Struct(
                {
                    "name": pl.String,
                    "restart_count": pl.Int128,
                }
            ),
            "node": pl.Struct(
                {
                    "name": pl.String,
                }
            ),
            "workload": pl.Struct(
                {
                    "kind": pl.String,
                    "name": pl.String,
                }
            ),
            "qos": pl.String,
            "oom_score_adj": pl.Struct(
                {
                    "min": pl.Int128,
                    "max": pl.Int128,
                    "matches": pl.Boolean,
                }
            ),
        }
    ),
    "systemd": pl.Struct(
        {
            "unit": pl.String,
            "slice": pl.String,
            "manager": pl.String,
            "user": pl.Int128,
            "session": pl.String,
            "invocation_id": pl.String,
            "oom_policy": pl.String,
            "stops_unit": pl.Boolean,
        }
    ),
    "scheduler": pl.Struct(
        {
            "system": pl.String,
            "id": pl.String,
            "step": pl.String,
            "task": pl.String,
            "slot": pl.String,
        }
    ),
    "application": pl.Struct(
        {
            "kind": pl.String,
            "id": pl.String,
        }
    ),
    "job": pl.Struct(
        {
            "system": pl.String,
            "role": pl.String,
            "queue": pl.String,
            "name": pl.String,
            "id": pl.String,
            "worker": pl.String,
            "join": pl.String,
            "registry": pl.String,
        }
    ),
    "exit": pl.Struct(
        {
            "kill": pl.String,
            "after_us": pl.Int128,
            "peak_rss": pl.Int128,
        }
    ),
    "sigkill": pl.Struct(
        {
            "incident": pl.String,
            "via_cgroup_kill": pl.Boolean,
            "sender": pl.Struct(
                {
                    "pid": pl.Int128,
                    "tid": pl.Int128,
                    "vpid": pl.Int128,
                    "comm": pl.String,
                    "executable": pl.Struct(
                        {
                            "path": pl.String,
                        }
                    ),
                    "user": pl.Struct(
                        {
                            "id": pl.Int128,
                            "name": pl.String,
                        }
                    ),
                    "cgroup": pl.String,
                    "unit": pl.String,
                    "container": pl.Struct(
                        {
                            "id": pl.String,
                            "runtime": pl.String,
                            "name": pl.String,
                        }
                    ),
                }
            ),
            "dropped_before": pl.Int128,
        }
    ),
}

# Lines of --format flat: labels of containers and variables of the environment have no columns.
FLAT = {
    "schema": pl.String,
    "event": pl.String,
    "id": pl.String,
    "seq": pl.Int128,
    "observed": TIME,
    "severity": pl.String,
    "message": pl.String,
    "fidelity": pl.String,
    "output_dropped_before": pl.Int128,
    "host.name": pl.String,
    "host.boot_id": pl.String,
    "host.kernel": pl.String,
    "lost.count": pl.Int128,
    "lost.from": TIME,
    "lost.to": TIME,
    "time": TIME,
    "derived": pl.List(pl.String),
    "missing": pl.List(pl.String),
    "truncated": pl.List(pl.String),
    "redacted": pl.List(pl.String),
    "withheld": pl.List(pl.String),
    "dropped_before": pl.Int128,
    "oom.incident": pl.String,
    "oom.number": pl.Int128,
    "oom.verdict": pl.String,
    "oom.reason": pl.String,
    "oom.scope": pl.String,
    "oom.constraint": pl.String,
    "oom.nodemask": pl.String,
    "oom.cpuset": pl.String,
    "oom.mems_allowed": pl.String,
    "oom.gfp_mask.raw": pl.String,
    "oom.gfp_mask.flags": pl.List(pl.String),
    "oom.order": pl.Int128,
    "oom.points.total": pl.Int128,
    "oom.points.rss": pl.Int128,
    "oom.points.swap": pl.Int128,
    "oom.points.page_tables": pl.Int128,
    "oom.points.adj": pl.Int128,
    "oom.points.exact": pl.Boolean,
    "oom.score": pl.Int128,
    "oom.limit_bytes": pl.Int128,
    "oom.limit_owner": pl.String,
    "oom.trigger.pid": pl.Int128,
    "oom.trigger.tid": pl.Int128,
    "oom.trigger.comm": pl.String,
    "oom.trigger.cgroup": pl.String,
    "oom.memcg.path": pl.String,
    "oom.memcg.id": pl.String,
    "oom.memcg.version": pl.Int128,
    "oom.memcg.usage": pl.Int128,
    "oom.memcg.limit": pl.Int128,
    "oom.memcg.high": pl.Int128,
    "oom.memcg.peak": pl.Int128,
    "oom.memcg.swap": pl.Int128,
    "oom.memcg.swap_limit": pl.Int128,
    "oom.memcg.events.high": pl.Int128,
    "oom.memcg.events.max": pl.Int128,
    "oom.memcg.events.oom": pl.Int128,
    "oom.memcg.events.oom_kill": pl.Int128,
    "oom.memcg.events.oom_group_kill": pl.Int128,
    "oom.group.path": pl.String,
    "oom.group.size": pl.Int128,
    "oom.group.set_by": pl.String,
    "oom.weighed": pl.Int128,
    "oom.candidates": pl.String,
    "process.pid": pl.Int128,
    "process.tid": pl.Int128,
    "process.vpid": pl.Int128,
    "process.comm": pl.String,
    "process.parent.pid": pl.Int128,
    "process.parent.vpid": pl.Int128,
    "process.parent.comm": pl.String,
    "process.user.id": pl.Int128,
    "process.user.name": pl.String,
    "process.creation.time": TIME,
    "process.threads": pl.Int128,
    "process.oom_score_adj": pl.Int128,
    "process.memory.anon": pl.Int128,
    "process.memory.file": pl.Int128,
    "process.memory.shmem": pl.Int128,
    "process.memory.swap": pl.Int128,
    "process.memory.page_tables": pl.Int128,
    "process.memory.total_vm": pl.Int128,
    "process.memory.peak_rss": pl.Int128,
    "process.title": pl.String,
    "process.command_args": pl.List(pl.String),
    "process.executable.path": pl.String,
    "process.working_directory": pl.String,
    "process.open_files.total": pl.Int128,
    "process.open_files.regular": pl.Int128,
    "process.open_files.directory": pl.Int128,
    "process.open_files.device": pl.Int128,
    "process.open_files.pipe": pl.Int128,
    "process.open_files.socket": pl.Int128,
    "process.open_files.anonymous": pl.Int128,
    "process.open_files.tcp": pl.Int128,
    "process.open_files.udp": pl.Int128,
    "process.open_files.unix": pl.Int128,
    "process.open_files.incomplete": pl.Boolean,
    "process.connections": pl.String,
    "namespace.hostname": pl.String,
    "namespace.pid_ns": pl.String,
    "namespace.net_ns": pl.String,
    "namespace.addresses": pl.List(pl.String),
    "cgroup.path": pl.String,
    "cgroup.id": pl.String,
    "cgroup.version": pl.Int128,
    "cgroup.v2.path": pl.String,
    "cgroup.v2.id": pl.String,
    "container.id": pl.String,
    "container.runtime": pl.String,
    "container.name": pl.String,
    "container.image.name": pl.String,
    "container.project": pl.String,
    "container.pod": pl.String,
    "container.parents": pl.String,
    "k8s.namespace.name": pl.String,
    "k8s.pod.uid": pl.String,
    "k8s.pod.name": pl.String,
    "k8s.container.name": pl.String,
    "k8s.container.restart_count": pl.Int128,
    "k8s.node.name": pl.String,
    "k8s.workload.kind": pl.String,
    "k8s.workload.name": pl.String,
    "k8s.qos": pl.String,
    "k8s.oom_score_adj.min": pl.Int128,
    "k8s.oom_score_adj.max": pl.Int128,
    "k8s.oom_score_adj.matches": pl.Boolean,
    "systemd.unit": pl.String,
    "systemd.slice": pl.String,
    "systemd.manager": pl.String,
    "systemd.user": pl.Int128,
    "systemd.session": pl.String,
    "systemd.invocation_id": pl.String,
    "systemd.oom_policy": pl.String,
    "systemd.stops_unit": pl.Boolean,
    "scheduler.system": pl.String,
    "scheduler.id": pl.String,
    "scheduler.step": pl.String,
    "scheduler.task": pl.String,
    "scheduler.slot": pl.String,
    "application.kind": pl.String,
    "application.id": pl.String,
    "job.system": pl.String,
    "job.role": pl.String,
    "job.queue": pl.String,
    "job.name": pl.String,
    "job.id": pl.String,
    "job.worker": pl.String,
    "job.join": pl.String,
    "job.registry": pl.String,
    "exit.kill": pl.String,
    "exit.after_us": pl.Int128,
    "exit.peak_rss": pl.Int128,
    "sigkill.incident": pl.String,
    "sigkill.via_cgroup_kill": pl.Boolean,
    "sigkill.sender.pid": pl.Int128,
    "sigkill.sender.tid": pl.Int128,
    "sigkill.sender.vpid": pl.Int128,
    "sigkill.sender.comm": pl.String,
    "sigkill.sender.executable.path": pl.String,
    "sigkill.sender.user.id": pl.Int128,
    "sigkill.sender.user.name": pl.String,
    "sigkill.sender.cgroup": pl.String,
    "sigkill.sender.unit": pl.String,
    "sigkill.sender.container.id": pl.String,
    "sigkill.sender.container.runtime": pl.String,
    "sigkill.sender.container.name": pl.String,
    "sigkill.dropped_before": pl.Int128,
}
