# SPDX-License-Identifier: Apache-2.0
"""The configuration file: every option by its name, the command line first, and each mistake in one line."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ooMtrace import cli
from ooMtrace.commands import config, config_file, options
from ooMtrace.commands.config_file import Configuration, configure, trace_options
from ooMtrace.errors import UsageError
from ooMtrace.output.url import parse_output

LEVELS = "log, minimal, reduced, full"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only for root the owner of the file matters")


@pytest.fixture(autouse=True)
def no_file_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_file, "DEFAULT_FILE", tmp_path / "none.toml")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def effective(text: str, *argv: str, file: Path) -> tuple[Namespace, Configuration]:
    file.write_text(text)
    words = ["--config", str(file), *argv]
    _, arguments = cli.parse(words)
    configuration = configure(arguments, words)
    return arguments, configuration


def printed(configuration: Configuration) -> str:
    return "".join(f"{line}\n" for line in config.to_toml(configuration))


def error_of(tmp_path: Path, content: str | bytes, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return what the command says of a file, without the program's name and the file's."""
    file = tmp_path / "c.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cli.main(["config", "--config", str(file), *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"oomtrace: {file}: ")
    return err.removeprefix(f"oomtrace: {file}: ").rstrip("\n")


SETTINGS = {"level": "full", "cmdline": "redacted", "timeout_factor": 1.0}
LISTS = ("env", "memory_killers", "names_from", "output", "services")
"""What is printed for these stands for the default."""


def with_defaults(configuration: Configuration) -> dict[str, Any]:
    values = {**configuration.values(), "config": None}
    defaults = {**SETTINGS, **{name: [] for name in LISTS}}
    return {name: defaults.get(name) if value is None else value for name, value in values.items()}


EXAMPLES: dict[str, tuple[str, Any]] = {
    "output": ('["/var/log/x", "journald:"]', [parse_output("/var/log/x"), parse_output("journald:")]),
    "format": ('"flat"', "flat"),
    "pretty": ("true", True),
    "state": ('"/var/lib/x"', Path("/var/lib/x")),
    "all": ("true", True),
    "lifecycle": ("true", True),
    "sigkill": ('"all"', "all"),
    "memory-killer": ('["one", "two"]', ["one", "two"]),
    "env": ('["CI_*"]', ["CI_*"]),
    "cmdline": ('"full"', "full"),
    "no-cmdline": ("true", "none"),
    "no-network": ("true", False),
    "service": ('["7000=redis", "7001=a=b"]', [(7000, "redis"), (7001, "a=b")]),
    "timeout-factor": ("2.5", 2.5),
    "names-from": ('["docker"]', ["docker"]),
    "level": ('"reduced"', "reduced"),
    "require": ('"log"', "log"),
    "ready-file": ('"/run/x"', Path("/run/x")),
    "verbose": ("true", True),
}


def test_every_option_of_trace_has_an_example_here():
    assert EXAMPLES.keys() == trace_options().keys()
    assert "config" not in EXAMPLES


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_key_has_the_effect_of_the_option_of_its_name(key, tmp_path):
    text, value = EXAMPLES[key]

    arguments, _ = effective(f"{key} = {text}\n", file=tmp_path / "c.toml")

    assert getattr(arguments, trace_options()[key].dest) == value


@pytest.mark.parametrize("key", EXAMPLES)
def test_what_config_prints_has_the_same_effect_as_a_file(key, tmp_path):
    text, _ = EXAMPLES[key]
    _, first = effective(f"{key} = {text}\n", file=tmp_path / "a.toml")

    _, second = effective(printed(first), file=tmp_path / "b.toml")

    assert second.values() | {"config": None} == with_defaults(first)


def test_the_command_line_takes_precedence_and_replaces_lists(tmp_path):
    text = 'level = "reduced"\nenv = ["A", "B"]\nno-cmdline = true\npretty = true\n'

    arguments, _ = effective(text, "--level", "full", "--env", "C", "--cmdline", "full", file=tmp_path / "c.toml")

    assert (arguments.level, arguments.env, arguments.cmdline, arguments.pretty) == ("full", ["C"], "full", True)


def test_each_value_is_printed_with_its_origin(tmp_path):
    file = tmp_path / "c.toml"
    text = 'no-cmdline = true\nservice = ["7000=redis"]\ntimeout-factor = 2\nno-network = false\n'

    _, configuration = effective(text, "--env", "A", "--no-network", file=file)

    lines = printed(configuration).splitlines()
    assert lines[0] == f'# oomtrace\'s options in effect; configuration file: "{file}"'
    assert {
        f'cmdline = "none"  # {file}',
        f'service = ["7000=redis"]  # {file}',
        f"timeout-factor = 2.0  # {file}",
        "no-network = true  # command line",
        'env = ["A"]  # command line',
        'level = "full"  # default',
        "memory-killer = []  # default",
        "# require: not set",
    } <= set(lines)
    assert not [line for line in lines if line.startswith("no-cmdline")]


def test_the_command_prints_what_is_in_effect_without_a_file(capfd, tmp_path):
    assert cli.main(["config", "--require", "log"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith(f'# oomtrace\'s options in effect; configuration file: "{tmp_path}/none.toml", which does')
    assert 'require = "log"  # command line\n' in out


def test_a_value_of_the_environment_has_that_as_its_origin(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/oomtrace")

    _, configuration = effective("", file=tmp_path / "c.toml")

    assert 'state = "/var/lib/oomtrace"  # $STATE_DIRECTORY\n' in printed(configuration)


def test_a_string_may_stand_for_a_list_of_one(tmp_path):
    arguments, _ = effective('env = "A"\n', file=tmp_path / "c.toml")

    assert arguments.env == ["A"]


def test_false_leaves_an_option_as_it_is(tmp_path):
    text = 'pretty = false\nno-network = false\nno-cmdline = false\ncmdline = "full"\n'

    arguments, _ = effective(text, file=tmp_path / "c.toml")

    assert (arguments.pretty, arguments.network, arguments.cmdline) == (False, True, "full")


@pytest.mark.parametrize(("text", "factor"), [("1e-5", 1e-5), ("1e2", 100.0), ("5_0", 50.0), ("+2", 2.0)])
def test_a_number_may_be_written_in_each_way_of_toml(text, factor, tmp_path):
    arguments, _ = effective(f"timeout-factor = {text}\n", file=tmp_path / "c.toml")

    assert arguments.timeout_factor == factor


def test_the_default_file_is_read_if_it_exists(tmp_path, monkeypatch):
    monkeypatch.setattr(config_file, "DEFAULT_FILE", tmp_path / "d.toml")
    (tmp_path / "d.toml").write_text('level = "log"\n')
    _, arguments = cli.parse([])

    configure(arguments, [])

    assert arguments.level == "log"


def test_dev_null_has_no_options(capfd):
    assert cli.main(["config", "--config", "/dev/null"]) == 0
    assert "#" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\ufeff# with a byte order mark\n", "#" * 65536])
def test_a_file_without_keys_changes_nothing(text, tmp_path):
    _, configuration = effective(text, file=tmp_path / "c.toml")

    assert configuration.entries == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('levle = "full"', "no option is called levle; did you mean level?"),
        ("timeout_factor = 2", "no option is called timeout_factor; did you mean timeout-factor?"),
        ('"--level" = "full"', "no option is called --level; did you mean level?"),
        ('config = "x"', "no option is called config; see `oomtrace --help`"),
        ("nonsense = 1", "no option is called nonsense; see `oomtrace --help`"),
        ('[trace]\nlevel = "full"', "no option is called trace; see `oomtrace --help`"),
        ('pretty = "yes"', "pretty must be true or false, and is 'yes'; write pretty = true, without quotes"),
        ("pretty = 1", "pretty must be true or false, and is the number 1; write pretty = true, without quotes"),
        ("level = 3", f"level is '3', which is none of {LEVELS}; choose one of them"),
        ('level = "ful"', f"level is 'ful', which is none of {LEVELS}; did you mean full?"),
        ("level = true", "level must be a string or a number, and is true; see `oomtrace --help`"),
        ("level.a = 1", "level must be a string or a number, and is a table; see `oomtrace --help`"),
        ("level = 2026-01-01", "level must be a string or a number, and is a date or time; see `oomtrace --help`"),
        ("state = 7", 'state must be a string, and is the number 7; write state = "7"'),
        (f"state = 0x{'f' * 9000}", "state must be a string or a number, and is a very large number; see"),
        ('timeout-factor = "2"', "timeout-factor must be a number, and is '2'; write timeout-factor = 2"),
        ("timeout-factor = 0", "timeout-factor is wrong: '0' is not a number between 0 and 100; see"),
        ("timeout-factor = nan", "timeout-factor is wrong: 'nan' is not a number between 0 and 100; see"),
        (
            "env = [1]",
            'env must be a string or a list of strings, and is a list that has something else; write env = ["',
        ),
        ("env = true", 'env must be a string or a list of strings, and is true; write env = ["...", "..."]'),
        ('service = ["redis"]', "service is wrong: 'redis' is not PORT=NAME, such as 7000=redis; see `oomtrace"),
        ('names-from = ["dokcer"]', "names-from is 'dokcer', which is none of docker, podman, cri, kubelet, api; did"),
        (f'level = "{"x" * 60}"', f"level is '{'x' * 60}', which is none of {LEVELS}; choose one of them"),
        (f'level = "{"x" * 61}"', f"level is '{'x' * 60}...', which is none of {LEVELS}; choose one of them"),
        ('state = "a\\u0000b"', "state contains a NUL character; remove it"),
        ('cmdline = "full"\nno-cmdline = true', "cmdline and no-cmdline are the same option; leave out one of the two"),
        ("level = full", "not TOML: "),
        ('level = "full"\nlevel = "full"', "not TOML: "),
        (f"timeout-factor = {'9' * 5000}", "not TOML: "),
        (f"env = {'[' * 20000}", "lists or tables are nested too deeply; see"),
        ("#" * 65537, "is larger than 64 KiB; remove what is not an option from it"),
        (b"# \xff", "byte 2 is not UTF-8; save it as UTF-8"),
        (
            'sigkill = "none"\nmemory-killer = ["x"]',
            "sigkill, memory-killer: --memory-killer has no effect with --sigkill none; leave out one of the two",
        ),
        ('output = "/x/y"\nstate = "/x"', "output: --output /x/y is in the state directory, /x; choose another"),
    ],
)
def test_a_mistake_is_one_line_with_the_file_the_key_and_what_to_do(text, said, tmp_path, capsys):
    assert error_of(tmp_path, text, capsys).startswith(said)


def test_what_the_type_of_an_option_says_is_kept_with_its_hint(tmp_path, capsys, monkeypatch):
    def refuse(text: str) -> str:
        raise UsageError(f"{text} is no output", "name a file")

    def add(parser: ArgumentParser) -> None:
        add_all(parser)
        parser.add_argument("--elsewhere", action="append", type=refuse)

    trace = options.COMMANDS["trace"]
    add_all = trace.add_arguments
    monkeypatch.setitem(options.COMMANDS, "trace", replace(trace, add_arguments=add))

    assert error_of(tmp_path, 'elsewhere = "x"\n', capsys) == "elsewhere is wrong: x is no output; name a file"


def test_an_option_that_contradicts_the_file_names_both(tmp_path, capsys):
    said = error_of(tmp_path, 'sigkill = "none"\n', capsys, "--memory-killer", "x")

    assert said == "sigkill: --memory-killer has no effect with --sigkill none; leave out one of the two"


def test_a_file_that_was_named_must_exist(tmp_path, capsys):
    assert cli.main(["--config", str(tmp_path / "x")]) == 2
    said = f"oomtrace: {tmp_path}/x: does not exist; name a file that does with --config\n"
    assert capsys.readouterr().err == said


def test_a_file_that_is_none_does_not_block(tmp_path, capsys):
    os.mkfifo(tmp_path / "x")
    for path in (tmp_path / "x", tmp_path):
        assert cli.main(["--config", str(path)]) == 2
        said = f"oomtrace: {path}: is not a regular file; name another file with --config\n"
        assert capsys.readouterr().err == said


def test_a_file_that_cannot_be_opened_is_reported_with_the_reason(tmp_path, capsys):
    (tmp_path / "x").symlink_to(tmp_path / "x")

    assert cli.main(["--config", str(tmp_path / "x")]) == 2
    said = "Too many levels of symbolic links; make it readable, or name another file with --config"
    assert capsys.readouterr().err == f"oomtrace: {tmp_path}/x: {said}\n"


def test_a_file_that_is_read_again_and_again_stays_closed(tmp_path):
    _, configuration = effective("pretty = true\n", file=tmp_path / "c.toml")
    before = len([*Path("/proc/self/fd").iterdir()])
    configuration.reread()

    assert len([*Path("/proc/self/fd").iterdir()]) == before


@as_root
@pytest.mark.parametrize(
    ("mode", "owner", "said"),
    [
        (0o666, 0, "users other than root can write to it; run: chmod go-w {}"),
        (0o660, 0, "users other than root can write to it; run: chmod go-w {}"),
        (0o644, 65534, "belongs to user 65534, not to root; run: chown root: {}"),
    ],
)
def test_root_obeys_no_file_that_others_can_write(mode, owner, said, tmp_path, capsys):
    file = tmp_path / "c.toml"
    file.write_text('level = "log"\n')
    file.chmod(mode)
    os.chown(file, owner, 0)

    assert cli.main(["config", "--config", str(file)]) == 2
    assert capsys.readouterr().err == f"oomtrace: {file}: {said.format(file)}\n"


def test_without_a_parser_the_message_says_what_to_install(tmp_path, capsys, monkeypatch):
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)

    assert error_of(tmp_path, 'level = "full"\n', capsys) == (
        "reading it needs Python 3.11 or the package tomli, and this Python has neither; "
        "install python3-tomli, or use options and remove the file"
    )
    (tmp_path / "c.toml").write_text("")
    assert cli.main(["config", "--config", str(tmp_path / "c.toml")]) == 0


def test_a_file_that_is_read_again_has_its_new_values_and_its_mistakes_are_errors(tmp_path):
    _, first = effective('pretty = true\nlevel = "log"\n', "--level", "full", file=tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text('level = "log"\nall = true\n')

    second = first.reread()

    assert (second.values()["pretty"], second.values()["all"], second.values()["level"]) == (False, True, "full")
    (tmp_path / "c.toml").write_text("levle = 1\n")
    with pytest.raises(UsageError, match="no option is called levle"):
        second.reread()


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_any_text_survives_being_printed_and_read(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    (folder / "c").touch()
    words = ["--config", str(folder / "c"), f"--env={text}"]
    _, arguments = cli.parse(words)
    shown = printed(configure(arguments, words))

    assert shown.isascii() or shown.replace("\n", "").isprintable()
    again, _ = effective(shown, file=folder / "c")
    assert again.env == [text]


def test_a_name_that_is_not_text_is_left_to_the_command_line(tmp_path):
    name = os.fsdecode(b"/var/log/\xff")

    _, configuration = effective("", "--output", name, file=tmp_path / "c.toml")

    assert "# output: not UTF-8, so only the command line can set it  # command line\n" in printed(configuration)
