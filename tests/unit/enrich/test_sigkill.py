# SPDX-License-Identifier: Apache-2.0
"""What user space adds to a SIGKILL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.sigkill_events import event, records

from ooMtrace.enrich.chain import enrichers
from ooMtrace.enrich.sigkill import sigkill_enricher
from ooMtrace.enrich.systemd_unit import read_oom_policy
from ooMtrace.record import Sigkill
from ooMtrace.settings import Settings


@pytest.fixture
def proc(tmp_path):
    folder = tmp_path / "512"
    (folder / "task/512").mkdir(parents=True)
    (folder / "task/512/comm").write_text("systemd-oomd\n")
    (folder / "exe").symlink_to("/usr/lib/systemd/systemd-oomd")
    (folder / "cgroup").write_text("2:cpu:/\n1:name=systemd:/system.slice/from-proc.service\n")
    return tmp_path


def enrich(found: Sigkill, proc, settings: Settings | None = None, *, host_pids: bool = True) -> Sigkill:
    steps = enrichers(settings or Settings(), host_pids=host_pids, proc=proc, run=proc, root=proc)
    return sigkill_enricher(steps, host_pids=host_pids, proc=proc)(found)


def test_the_message_names_victim_unit_and_sender(proc):
    found = enrich(records(event())[0], proc)

    assert found.message == "ruby (pid 7) in sidekiq.service was killed by systemd-oomd (pid 512): SIGKILL"
    assert found.systemd is not None
    assert found.systemd.unit == "sidekiq.service"


def test_the_units_policy_for_oom_kills_is_not_stated(proc):
    unit = proc / "etc/systemd/system/sidekiq.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nOOMPolicy=stop\n")

    assert read_oom_policy("sidekiq.service", proc) == "stop"
    found = enrich(records(event())[0], proc)
    assert found.systemd is not None
    assert (found.systemd.oom_policy, found.systemd.stops_unit) == (None, None)


def test_the_message_says_that_it_came_through_cgroup_kill(proc):
    found = enrich(records(event(cgroup_kill=True))[0], proc)

    assert found.message.endswith("was killed by systemd-oomd (pid 512): SIGKILL through cgroup.kill")


def test_the_sender_has_program_and_unit(proc):
    sender = enrich(records(event())[0], proc).sigkill.sender

    assert sender.executable is not None
    assert sender.executable.path == "/usr/lib/systemd/systemd-oomd"
    assert sender.unit == "systemd-oomd.service"
    assert sender.container is None


def test_the_sender_has_the_name_of_its_user(proc):
    sender = enrich(records(event(sender_uid=0))[0], proc).sigkill.sender

    assert sender.user is not None
    assert (sender.user.id, sender.user.name) == (0, "root")


def test_the_sender_of_a_container_has_its_id(proc):
    path = (f"docker-{'a' * 64}.scope", "system.slice")
    sender = enrich(records(event(sender_memcg_path=path))[0], proc).sigkill.sender

    assert sender.container is not None
    assert (sender.container.id, sender.container.runtime) == ("a" * 64, "docker")


def test_a_cgroup_that_the_probes_could_not_read_is_read_from_proc(proc):
    found = records(event(sender_memcg_path=None, sender_unified_path=None))[0]
    sender = enrich(found, proc).sigkill.sender

    assert (sender.cgroup, sender.unit) == ("/system.slice/from-proc.service", "from-proc.service")


def test_another_process_with_the_senders_pid_is_not_the_sender(proc):
    (proc / "512/task/512/comm").write_text("bash\n")

    assert enrich(records(event())[0], proc).sigkill.sender.executable is None


def test_proc_of_another_pid_namespace_is_not_read(proc):
    found = records(event(sender_memcg_path=None, sender_unified_path=None))[0]
    sender = enrich(found, proc, host_pids=False).sigkill.sender

    assert (sender.executable, sender.cgroup) == (None, None)


def test_secrets_in_the_victims_arguments_are_redacted(proc):
    found = enrich(records(event(exec_args=(b"ruby\0--password=hunter2\0", 24)))[0], proc)

    assert found.process.command_args == ("ruby", "--password=********")
    assert found.redacted == ("process.command_args",)
    assert found.derived == ("process.command_args",)


def test_without_cmdline_no_arguments_are_stated(proc):
    found = records(event())[0]
    found = replace(found, process=replace(found.process, command_args=("ruby", "-x")))

    assert enrich(found, proc, Settings(cmdline="none")).process.command_args is None
