# SPDX-License-Identifier: Apache-2.0
"""The command line: what is understood, what is said, and with which code it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ooMtrace import __version__, cli, commands
from ooMtrace.commands import Options, demo, doctor, trace
from ooMtrace.errors import CannotTraceError, OomtraceError, ProbeError, SinkError, UsageError
from ooMtrace.kernel.features import Features
from ooMtrace.kernel.plan import Plan, Wishes
from ooMtrace.runtime.pipeline import Settings


def test_without_options_it_traces_at_the_highest_level_to_stdout():
    assert cli.parse([]) == Options(
        command="trace",
        output=None,
        ready_file=None,
        level="full",
        require="",
        all=False,
        pretty=False,
        verbose=False,
        json=False,
        lifecycle=False,
        env=(),
        cmdline=True,
        network=True,
        service=(),
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--output /var/log/x", Options(output=Path("/var/log/x"))),
        ("--ready-file /run/x", Options(ready_file=Path("/run/x"))),
        ("--level reduced", Options(level="reduced")),
        ("--require minimal", Options(require="minimal")),
        ("--level log --require log", Options(level="log", require="log")),
        ("--all --pretty --verbose", Options(all=True, pretty=True, verbose=True)),
        ("--lifecycle", Options(lifecycle=True)),
        ("--env QUEUE --env CI_*", Options(env=("QUEUE", "CI_*"))),
        ("--no-cmdline --no-network", Options(cmdline=False, network=False)),
        ("--service 7000=redis --service 5433=a=b", Options(service=((7000, "redis"), (5433, "a=b")))),
        ("--service 0=none --service 65535=last", Options(service=((0, "none"), (65535, "last")))),
        ("doctor", Options(command="doctor")),
        ("doctor --json", Options(command="doctor", json=True)),
        ("--require full doctor", Options(command="doctor", require="full")),
        ("--pretty demo", Options(command="demo", pretty=True)),
        ("schema", Options(command="schema")),
    ],
)
def test_options_are_understood(line, expected):
    assert cli.parse(line.split()) == expected


@pytest.mark.parametrize(
    "line",
    [
        *(
            "--nonsense",
            "nonsense",
            "--level",
            "--level log",
            "--require all",
            "--json",
            "demo --json",
            "doctor twice",
        ),
        *("--env", "--service", "--service 7000", "--service =redis", "--service 7000=", "--service 65536=x"),
        *("--service -1=x", "--service redis=7000", "--service 7_0=x", "--service ²=x", "--lifecycle=yes"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_why_on_stderr(line, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())

    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.out == ""
    assert said.err.startswith("usage: oomtrace")
    assert said.err.splitlines()[-1].startswith("oomtrace")


def test_a_wrong_service_is_told_how_to_be_right(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--service", "redis"])

    assert capsys.readouterr().err.endswith("argument --service: 'redis' is not PORT=NAME, such as 7000=redis\n")


def test_help_shows_examples_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])

    said = capsys.readouterr()
    assert caught.value.code == 0
    assert said.out.endswith(cli.EXAMPLES)
    for example in (
        "sudo oomtrace --pretty",
        "sudo oomtrace | jq -r .message",
        "oomtrace doctor",
        "sudo oomtrace demo",
    ):
        assert f"  {example} " in said.out
    assert "0 done, 1 failure, 2 wrong usage, 77 this host cannot trace at the required level" in said.out


def test_every_example_of_the_help_is_a_command_that_is_understood():
    examples = [line[2:46] for line in cli.EXAMPLES.split("exit codes:")[0].splitlines()[1:] if line]

    assert len(examples) == 8
    for example in examples:
        cli.parse(example.split("|")[0].removeprefix("sudo ").split()[1:])


OPTIONS = (
    *("--version", "--output", "--pretty", "--all", "--lifecycle", "--env", "--no-cmdline", "--no-network"),
    *("--service", "--patience", "--level", "--require", "--ready-file", "--verbose"),
)


def test_every_option_of_the_help_has_its_words(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    said = capsys.readouterr().out
    for option in OPTIONS:
        assert f"\n  {option}" in said
    for line in said.splitlines():
        assert len(line) <= 120


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])

    assert caught.value.code == 0
    assert capsys.readouterr().out == f"oomtrace {__version__}\n"


def failing(error: BaseException) -> Callable[..., int]:
    def run(*_: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OomtraceError("it broke"), 1, "oomtrace: it broke\n"),
        (
            SinkError("/x: No space left on device", "free some"),
            1,
            "oomtrace: /x: No space left on device; free some\n",
        ),
        (UsageError("no such thing", "see --help"), 2, "oomtrace: no such thing; see --help\n"),
        (CannotTraceError("no BTF", "another kernel has it"), 77, "oomtrace: no BTF; another kernel has it\n"),
        (ProbeError("refused", "", detail="line 1\nline 2"), 1, "oomtrace: refused\n"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_its_exit_code(monkeypatch, capsys, error, code, line):
    monkeypatch.setattr(trace, "run", failing(error))

    assert cli.main([]) == code
    assert capsys.readouterr() == ("", line)


def test_the_log_behind_an_error_is_shown_only_to_who_asks(monkeypatch, capsys):
    monkeypatch.setattr(demo, "run", failing(ProbeError("refused", detail="line 1\nline 2")))

    assert cli.main(["--verbose", "demo"]) == 1
    assert capsys.readouterr().err == "oomtrace: line 1\noomtrace: line 2\noomtrace: refused\n"


HOSTILE = "\x1b[2J\n\r\x7f\x9b\u2028\udcff"
SHOWN = r"\x1b[2J\x0a\x0d\x7f\x9b\u2028\xff"


def test_no_terminal_obeys_a_message(monkeypatch, capsys):
    monkeypatch.setattr(trace, "run", failing(SinkError(f"/{HOSTILE}: gone", "choose another")))

    assert cli.main([]) == 1
    assert capsys.readouterr().err == f"oomtrace: /{SHOWN}: gone; choose another\n"


def test_a_message_is_no_longer_than_2000_characters_and_keeps_its_end(monkeypatch, capsys):
    monkeypatch.setattr(trace, "run", failing(SinkError("/" + "\x1b" * 4096, "choose another")))

    assert cli.main([]) == 1
    said = capsys.readouterr().err
    assert len(said) <= len("oomtrace: \n") + 2000
    assert said.startswith(r"oomtrace: /\x1b\x1b")
    assert said.endswith("; choose another\n")


def test_no_terminal_obeys_a_file_that_is_called_like_an_option(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["logs", f"--{HOSTILE}"])

    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f": --{SHOWN}")


@pytest.mark.parametrize("name", [f"/nowhere/{HOSTILE}", "--output=/nowhere/\udcff"])
def test_a_file_name_that_is_no_text_is_shown(capsys, name):
    assert cli.main([name, "logs", "/nowhere"] if name.startswith("--") else ["logs", name]) == 1

    said = capsys.readouterr().err
    assert said.startswith("oomtrace: /nowhere/")
    assert said.count("\n") == 1
    assert r"\xff: No such file or directory; " in said


@pytest.mark.parametrize("name", ["\udcff", "\x1b", "a\nb"])
def test_a_service_that_no_line_could_carry_is_refused_at_once(name):
    with pytest.raises(SystemExit):
        cli.parse(["--service", f"7000={name}"])


def test_an_error_that_nobody_expects_is_not_hidden(monkeypatch):
    monkeypatch.setattr(trace, "run", failing(ZeroDivisionError()))

    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_ctrl_c_during_start_is_a_quiet_end(monkeypatch, capsys):
    monkeypatch.setattr(trace, "run", failing(KeyboardInterrupt()))

    assert cli.main([]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_a_command_says_goes_to_stderr_and_its_code_is_passed_on(monkeypatch, capsys):
    def run(options: Options, say: Callable[[str], None]) -> int:
        say(f"level {options.level}")
        return 5

    monkeypatch.setattr(trace, "run", run)

    assert cli.main(["--level", "reduced"]) == 5
    assert capsys.readouterr() == ("", "oomtrace: level reduced\n")


def test_messages_that_nobody_reads_keep_nobody():
    read, write = os.pipe()
    script = "from ooMtrace.cli import _say\nfor _ in range(3): _say('x' * 4000)\nprint('went on')"
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)

    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=write, timeout=60, check=True)

    assert done.stdout == b"went on\n"
    os.close(read)
    os.close(write)


def test_doctors_report_goes_to_stdout_with_its_code(monkeypatch, capfd):
    monkeypatch.setattr(doctor, "run", lambda options: (f"json {options.json}\n".encode(), 77))

    assert cli.main(["doctor", "--json"]) == 77
    assert capfd.readouterr() == ("json True\n", "")


@pytest.mark.parametrize("arguments", [["schema"], ["--version"]])
def test_it_runs_as_a_module(arguments):
    done = subprocess.run([sys.executable, "-m", "ooMtrace", *arguments], capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert done.stdout == f"oomtrace {__version__}\n" or json.loads(done.stdout)["title"] == "oomtrace/1"


def schema_into(output: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ooMtrace", "schema"]
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)


def test_a_report_that_nobody_reads_ends_quietly():
    read, write = os.pipe()
    os.close(read)
    try:
        done = schema_into(write)
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_report_that_does_not_fit_is_one_line_of_error():
    with Path("/dev/full").open("wb") as full:
        done = schema_into(full.fileno())

    assert done.returncode == 1
    assert done.stderr.startswith("oomtrace: stdout: No space left on device")
    assert done.stderr.count("\n") == 1


OTHERS = (
    "the pid namespace is a container's: nothing of a victim is looked up in /proc, "
    "which lists others by these numbers; give the container the host's: hostPID: true, or --pid=host"
)


@pytest.mark.parametrize("host_pids", [True, False])
@pytest.mark.parametrize(
    ("line", "wishes", "settings"),
    [
        ("", Wishes(), Settings()),
        ("--all", Wishes(), Settings(dying=True)),
        ("--lifecycle", Wishes(lifecycle=True), Settings(lifecycle=True)),
        ("--env A --env B_*", Wishes(environment=True), Settings(environment=("A", "B_*"))),
        ("--no-cmdline", Wishes(), Settings(command=False)),
        ("--no-network", Wishes(), Settings(network=False)),
        ("--service 7000=a --service 7000=b", Wishes(), Settings(services={7000: "b"})),
        ("--level reduced --require minimal demo", Wishes(), Settings()),
    ],
)
def test_what_is_asked_for_reaches_the_plan_and_the_tracer(monkeypatch, line, wishes, settings, host_pids):
    asked: list[object] = []

    class Tracer:
        def __init__(self, chosen, features, say, settings):
            asked.append(settings)

        def close(self):
            asked.append("closed")

    def choose(features, highest, require, wishes):
        asked.append((highest, require, wishes))
        return Plan(highest, "", {}, (), ())

    monkeypatch.setattr(commands, "observe", lambda: Features("", "", 0, host_pids=host_pids))
    monkeypatch.setattr(commands, "plan", choose)
    monkeypatch.setattr(commands, "Tracer", Tracer)
    options = cli.parse(line.split())
    said: list[str] = []

    with commands.attached(options, said.append):
        pass

    settings = replace(settings, host_pids=host_pids)
    assert asked == [(options.level, options.require, wishes), settings, "closed"]
    assert said == [*([] if host_pids else [OTHERS]), f"tracing at level {options.level}; Ctrl-C ends"]
