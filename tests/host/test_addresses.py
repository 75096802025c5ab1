# SPDX-License-Identifier: Apache-2.0
"""The addresses of real network namespaces: with and without processes in them, with and without a name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.networks import Network, ip
from support.slow import at_once

from ooMtrace import record
from ooMtrace.enrich.netns_addresses import NetnsAddresses

ADDRESSES = ("198.51.100.2", "198.51.100.3", "2001:db8::2")


@pytest.fixture
def namespace() -> Iterator[Network]:
    one = Network()
    try:
        yield one
    finally:
        if (Path("/run/netns") / one.name).exists():
            one.delete()


@contextmanager
def process(*command: str) -> Iterator[int]:
    """Run `sleep` by way of a command that becomes it, until the end of the block."""
    with subprocess.Popen([*command, "sleep", "60"]) as running:
        try:
            comm, deadline = Path(f"/proc/{running.pid}/comm"), time.monotonic() + 10
            while comm.read_text() != "sleep\n":
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield running.pid
        finally:
            running.kill()


def net_ns_of(pid: int) -> int:
    return Path(f"/proc/{pid}/ns/net").stat().st_ino


def enriched(number: int, pid: int) -> record.OomKill:
    """Enrich a kill of this process in this network namespace."""
    return at_once(NetnsAddresses())(
        record.OomKill(
            id="1",
            time="2023-11-14T22:13:19.000001Z",
            observed="2023-11-14T22:13:20.000000Z",
            message="sleep was killed",
            fidelity="full",
            host=record.Host(name="host", kernel="6.12.0"),
            oom=record.Oom(incident="1"),
            process=record.Process(pid=pid),
            namespace=record.Namespace(net_ns=str(number)),
        )
    )


def assert_addresses(kill: record.OomKill, addresses: tuple[str, ...] | None) -> None:
    assert kill.namespace
    assert kill.namespace.addresses == addresses
    assert kill.missing == (() if addresses is not None else ("namespace.addresses",))


def test_a_named_namespace_is_found_as_long_as_it_has_its_name(namespace):
    namespace.connect()
    with process("ip", "netns", "exec", namespace.name) as pid:
        assert net_ns_of(pid) == namespace.number
        assert_addresses(enriched(namespace.number, pid), ADDRESSES)

    assert_addresses(enriched(namespace.number, pid), ADDRESSES)
    namespace.delete()
    assert_addresses(enriched(namespace.number, pid), None)


def test_a_process_leads_to_its_namespace_when_the_name_has_gone(namespace):
    namespace.connect()
    with process("ip", "netns", "exec", namespace.name) as pid:
        namespace.delete()
        assert_addresses(enriched(namespace.number, pid), ADDRESSES)


def test_a_namespace_that_never_had_a_name_is_found_by_a_process_in_it():
    prepare = 'ip link set lo up && ip address add 198.51.100.2/32 dev lo && exec "$@"'
    with process("unshare", "--net", "sh", "-c", prepare, "sh") as pid:
        number = net_ns_of(pid)
        assert_addresses(enriched(number, pid), ("198.51.100.2",))
        with process() as other:  # whose process id is that of the victim, now
            assert_addresses(enriched(number, other), ("198.51.100.2",))

    assert_addresses(enriched(number, pid), None)


def test_a_victim_in_the_hosts_namespace_has_no_addresses():
    with process() as pid:
        kill = enriched(net_ns_of(pid), pid)

    assert kill.namespace
    assert kill.namespace.addresses is None
    assert kill.missing == ()


def test_an_isolated_namespace_has_no_address(namespace):
    assert_addresses(enriched(namespace.number, 0), ())
    ip(f"-netns {namespace.name} link set lo up")
    assert_addresses(enriched(namespace.number, 0), ())


def test_a_query_leaves_no_thread_in_the_namespace_and_no_descriptor_open(namespace):
    namespace.connect()
    own = net_ns_of(os.getpid())
    files, threads = (len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task"))

    for _ in range(20):
        assert_addresses(enriched(namespace.number, 0), ADDRESSES)

    deadline = time.monotonic() + 10  # the kernel may take a moment to end a thread that has been joined
    while len(list(Path("/proc/self/task").iterdir())) > threads:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {path.stat().st_ino for path in Path("/proc/self/task").glob("*/ns/net")} == {own}
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_without_the_right_to_enter_a_namespace_addresses_are_missing_and_there_is_no_message(namespace):
    namespace.connect()
    script = f"from test_addresses import enriched; print(enriched({namespace.number}, 0).missing)"
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-sys_admin", sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("('namespace.addresses',)\n", "")


def test_the_line_of_a_kill_has_the_addresses_of_the_victims_namespace(tracer, cgroup, program, namespace, validate):
    namespace.connect()
    limited = cgroup(24)
    enter = f"echo $$ > {limited.folder}/cgroup.procs && exec ip netns exec {namespace.name} {program} hog 256"
    with subprocess.Popen(["sh", "-c", enter], stdin=subprocess.PIPE) as running:
        running.communicate(b"!", timeout=60)
    assert running.returncode == -signal.SIGKILL

    (line,) = tracer.lines_of([running.pid])

    validate(line)
    assert line["namespace"]["net_ns"] == str(namespace.number)
    assert line["namespace"]["addresses"] == list(ADDRESSES)
    assert "namespace.addresses" not in line["missing"]
