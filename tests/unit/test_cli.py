# SPDX-License-Identifier: Apache-2.0
"""The command line: what is understood, what is said, and with which code it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from ooMtrace import __version__, cli
from ooMtrace.commands import demo, options, trace
from ooMtrace.errors import CannotTraceError, OomtraceError, ProbeError, SinkError, UsageError
from ooMtrace.output.url import OutputUrl, parse_output
from ooMtrace.settings import Settings


def settings_of(line: str) -> Settings:
    _, arguments = cli.parse(line.split())
    return options.settings(arguments)


def test_without_options_it_traces_at_the_highest_level_to_stdout():
    command, arguments = cli.parse([])

    assert command == "trace"
    assert options.settings(arguments) == Settings()
    assert (arguments.output, arguments.state, arguments.ready_file) == (None, None, None)
    assert (arguments.pretty, arguments.verbose) == (False, False)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--level reduced", Settings(level="reduced")),
        ("--require minimal", Settings(require="minimal")),
        ("--level log --require log", Settings(level="log", require="log")),
        ("--all", Settings(all=True)),
        ("--lifecycle", Settings(lifecycle=True)),
        ("--env QUEUE --env CI_*", Settings(env=("QUEUE", "CI_*"))),
        ("--no-cmdline --no-network", Settings(cmdline="none", network=False)),
        ("--service 7000=redis --service 5433=a=b", Settings(services={7000: "redis", 5433: "a=b"})),
        ("--service 0=none --service 65535=last", Settings(services={0: "none", 65535: "last"})),
        ("--service 7000=a --service 7000=b", Settings(services={7000: "b"})),
        ("--timeout-factor 2.5", Settings(timeout_factor=2.5)),
        ("trace --lifecycle", Settings(lifecycle=True)),
        ("demo --no-cmdline", Settings(cmdline="none", sigkill="none")),
        ("--cmdline full", Settings(cmdline="full")),
        ("demo --cmdline none", Settings(cmdline="none", sigkill="none")),
        ("--cmdline redacted", Settings()),
        ("doctor --require full", Settings(require="full")),
    ],
)
def test_options_become_the_settings_of_the_same_name(line, expected):
    assert settings_of(line) == expected


def test_every_setting_is_an_option_of_trace_and_has_its_name():
    _, arguments = cli.parse([])

    assert {field.name for field in fields(Settings)} <= vars(arguments).keys()


def outputs(*texts: str) -> list[OutputUrl]:
    return [parse_output(text) for text in texts]


@pytest.mark.parametrize(
    ("line", "command", "expected"),
    [
        ("--output /var/log/x --output tcp://h:1", "trace", {"output": outputs("/var/log/x", "tcp://h:1")}),
        ("--ready-file /run/x --state /s", "trace", {"ready_file": Path("/run/x"), "state": Path("/s")}),
        ("demo --pretty", "demo", {"pretty": True}),
        ("--pretty demo", "demo", {"pretty": True}),
        ("--output demo demo", "demo", {"output": outputs("demo")}),
        ("demo --output demo", "demo", {"output": outputs("demo")}),
        ("--output=logs logs logs", "logs", {"output": Path("logs"), "files": ["logs"]}),
        ("logs --output F a b -", "logs", {"output": Path("F"), "files": ["a", "b", "-"]}),
        ("--process logs logs a --cgroup /b", "logs", {"process": "logs", "cgroup": "/b", "files": ["a"]}),
        ("--summary logs", "logs", {"summary": True, "files": [], "since": None, "until": None}),
        ("--level full doctor --json", "doctor", {"level": "full", "json": True}),
        ("schema", "schema", {}),
    ],
)
def test_options_stand_before_or_after_the_command(line, command, expected):
    found, arguments = cli.parse(line.split())

    assert found == command
    assert expected.items() <= vars(arguments).items()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--ouput x", "oomtrace has no option --ouput; did you mean --output?"),
        ("--ouput x demo", "oomtrace has no option --ouput; did you mean --output?"),
        ("--ouput=x", "oomtrace has no option --ouput=x; did you mean --output?"),
        ("--nonsense", "oomtrace has no option --nonsense; see `oomtrace --help`"),
        ("--lifecycl", "oomtrace has no option --lifecycl; did you mean --lifecycle?"),
        ("dcotor", "oomtrace has no command dcotor; did you mean doctor?"),
        ("nonsense", "oomtrace has no command nonsense; see `oomtrace --help`"),
        ("--lifecycle --state D schema", "oomtrace schema has no option --lifecycle; see `oomtrace schema --help`"),
        ("schema --output F", "oomtrace schema has no option --output; see `oomtrace schema --help`"),
        ("logs --require full", "oomtrace logs has no option --require; see `oomtrace logs --help`"),
        ("demo --state D", "oomtrace demo has no option --state; see `oomtrace demo --help`"),
        ("demo --json", "oomtrace demo has no option --json; see `oomtrace demo --help`"),
        ("--summary", "oomtrace has no option --summary; see `oomtrace --help`"),
        (
            "logs --since x",
            "argument --since: 'x' is not a time, such as '2026-03-05 10:00', 2h or 3d; see `oomtrace logs --help`",
        ),
        ("logs --summary --format explain", "--format is for lines, and --summary prints none; use one of them"),
        ("logs --summary --pretty", "--pretty indents lines, and --summary prints none; use one of them"),
        ("logs --since 2h --until 3h", "--since is later than --until; exchange them"),
        ("--json", "oomtrace has no option --json; see `oomtrace --help`"),
        ("doctor twice", "oomtrace doctor has no argument twice; see `oomtrace doctor --help`"),
        ("--service redis", "argument --service: 'redis' is not PORT=NAME, such as 7000=redis; see `oomtrace --help`"),
        ("--output", "argument --output: expected one argument; see `oomtrace --help`"),
        (
            "--output tcp://h",
            "argument --output: tcp: has no port from 1 to 65535; write tcp://host:5170; see `oomtrace --help`",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_wrong_word(line, said, capsys):
    assert cli.main(line.split()) == 2
    assert capsys.readouterr() == ("", f"oomtrace: {said}\n")


@pytest.mark.parametrize(
    "line",
    [
        *("--level", "--level kmsg", "--require all", "--env", "--service", "--service 7000", "--service =redis"),
        *("--service 7000=", "--service 65536=x", "--service -1=x", "--service redis=7000", "--service 7_0=x"),
        *("--service ²=x", "--lifecycle=yes", "--timeout-factor 0", "--timeout-factor x", "--timeout-factor 101"),
        *("logs --since", "logs --since x", "logs --until 2026-02-30", "logs --summary=yes"),
        *("--timeout-factor nan", "--patience 2", "--out x"),
    ],
)
def test_a_wrong_value_exits_with_2_and_one_line(line, capsys):
    assert cli.main(line.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("oomtrace: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "begin"),
    [
        ("--help", "usage: oomtrace [COMMAND]"),
        ("-h", "usage: oomtrace [COMMAND]"),
        ("help", "usage: oomtrace [COMMAND]"),
        ("help demo", "usage: oomtrace demo "),
        ("demo --help", "usage: oomtrace demo "),
        ("logs -h", "usage: oomtrace logs "),
        ("--pretty demo -h", "usage: oomtrace demo "),
    ],
)
def test_help_is_that_of_the_command(line, begin, capfd):
    assert cli.main(line.split()) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.startswith(begin)


def test_help_lists_commands_examples_and_exit_codes(capfd):
    assert cli.main(["--help"]) == 0
    said = capfd.readouterr().out
    assert said.endswith(cli.EXAMPLES)
    for command in options.COMMANDS:
        assert f"\n  {command} " in said
    assert "0 done, 1 failure, 2 wrong usage, 77 this host cannot trace at the required level" in said


def test_every_example_of_the_help_is_a_command_that_is_understood():
    examples = [line[2:46] for line in cli.EXAMPLES.split("exit codes:")[0].splitlines()[1:] if line]

    assert len(examples) >= 10
    for example in examples:
        cli.parse(example.split("|")[0].removeprefix("sudo ").split()[1:])


@pytest.mark.parametrize("command", list(options.COMMANDS))
def test_every_option_has_its_help(command, capfd):
    assert cli.main(["help", command]) == 0
    said = capfd.readouterr().out
    for found in re.findall(r"\n  (?:-\w, )?(--[\w-]+)(?: [A-Z=]+)?(.*\n {20,}\S.*|  +\S.*)?", said):
        assert found[1].strip(), found[0]
    for line in said.splitlines():
        assert len(line) <= 120


@pytest.mark.parametrize("line", ["--version", "-V", "version", "demo -V"])
def test_version_is_the_packages(line, capfd):
    assert cli.main(line.split()) == 0
    assert capfd.readouterr() == (f"oomtrace {__version__}\n", "")


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
    assert cli.main(["logs", f"--{HOSTILE}"]) == 2
    assert capsys.readouterr().err == f"oomtrace: oomtrace logs has no option --{SHOWN}; see `oomtrace logs --help`\n"


@pytest.mark.parametrize("name", [f"/nowhere/{HOSTILE}", "--output=/nowhere/\udcff"])
def test_a_file_name_that_is_no_text_is_shown(capsys, name):
    assert cli.main([name, "logs", "/nowhere"] if name.startswith("--") else ["logs", name]) == 1

    said = capsys.readouterr().err
    assert said.startswith("oomtrace: /nowhere/")
    assert said.count("\n") == 1
    assert r"\xff: No such file or directory; " in said


@pytest.mark.parametrize("name", ["\udcff", "\x1b", "a\nb"])
def test_a_service_that_no_line_could_carry_is_refused_at_once(name):
    with pytest.raises(UsageError):
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
    def run(arguments: Namespace, say: Callable[[str], None]) -> int:
        say(f"level {arguments.level}")
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


LOG = Path(__file__).parents[1] / "fixtures/kmsg/format-kern-log.log"


def with_closed(closed: str, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that has closed some of the standard descriptors."""
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *map(str, command)]
    return subprocess.run(shell, capture_output=True, text=True, check=False)


def test_a_closed_stdout_is_an_error_unless_a_file_is_named(tmp_path):
    done = with_closed(">&-", sys.executable, "-m", "ooMtrace", "logs", LOG)
    assert done.returncode == 2
    assert done.stderr == "oomtrace: stdout is closed; name a file with --output\n"

    done = with_closed(">&-", sys.executable, "-m", "ooMtrace", "--output", tmp_path / "x", "--output", "stdout:")
    assert done.stderr == "oomtrace: stdout is closed; name a file with --output\n"

    output = tmp_path / "lines"
    done = with_closed(">&-", sys.executable, "-m", "ooMtrace", "logs", "--output", output, LOG)
    assert done.returncode == 0
    assert done.stderr.startswith("oomtrace: 2 kills in ")
    assert json.loads(output.read_text().splitlines()[0])["seq"] == 1


def test_closed_standard_descriptors_are_open_before_anything_else_is(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from ooMtrace import cli; closed = cli._open_standard_fds();"
        "Path(sys.argv[1]).write_text(repr([closed, *(os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2))]))"
    )
    done = with_closed("<&- >&- 2>&-", sys.executable, "-c", script, tmp_path / "found")

    assert done.returncode == 0
    assert (tmp_path / "found").read_text() == repr([[0, 1, 2], *["/dev/null"] * 3])


def test_a_timeout_factor_may_be_100():
    assert settings_of("--timeout-factor 100").timeout_factor == 100
