# SPDX-License-Identifier: Apache-2.0
"""The documentation is complete and agrees with the schema, the command line, the Makefile and itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ooMtrace.record.json_schema import json_schema
from ooMtrace.settings import LEVELS

ROOT = Path(__file__).parents[2]
README, LINE, USAGE = ROOT / "README.md", ROOT / "docs/line.md", ROOT / "docs/usage.md"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "vagrant/README.md",
        ROOT / "deploy/pipeline/README.md",
        *ROOT.glob("tests/vm/*.md"),
    ],
)
COMMANDS = ("trace", "demo", "logs", "explain", "report", "scores", "doctor", "config", "schema")


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object's properties, or those of an array's items."""
    return schema.get("items", schema).get("properties", {})


def fields_of_two_levels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `name` or, of an object, `name.member`, each with its schema."""
    for name, part in json_schema()["properties"].items():
        if not properties(part):
            yield name, part
        for member, inner in properties(part).items():
            yield f"{name}.{member}", inner


def names_below(schema: dict[str, Any]) -> Iterator[str]:
    for name, part in properties(schema).items():
        yield name
        yield from names_below(part)


def rows() -> dict[str, str]:
    """Return the description of each field in docs/line.md."""
    return dict(re.findall(r"^\| `([a-z_0-9.]+)` \| (.+) \|$", LINE.read_text(), re.MULTILINE))


def example(page: Path) -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def is_part(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(part[name], whole[name]) for name in part)
    return bool(part == whole)


def code_blocks(page: Path, language: str) -> str:
    return "\n".join(re.findall(rf"^ *```{language}\n(.*?)```", page.read_text(), re.DOTALL | re.MULTILINE))


@cache
def known_options() -> frozenset[str]:
    """Return the options of all commands, from their own help."""
    usages = [
        subprocess.run(
            [sys.executable, "-m", "ooMtrace", *command, "--help"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        ).stdout
        for command in ([], *([one] for one in COMMANDS))
    ]
    return frozenset(re.findall(r"--[a-z][a-z-]+", "".join(usages)))


def test_every_field_is_described_and_no_other():
    assert set(rows()) == {path for path, _ in fields_of_two_levels()}


@pytest.mark.parametrize(("path", "schema"), list(fields_of_two_levels()))
def test_the_description_of_a_field_names_all_below_it(path, schema):
    described = set(re.findall(r"`([a-z_0-9]+)`", rows()[path]))

    assert set(names_below(schema)) <= described


@pytest.mark.parametrize("field", ["event", "fidelity", "oom.scope", "oom.verdict"])
def test_the_description_of_an_enumeration_names_all_values(field):
    schema = dict(fields_of_two_levels())[field]

    assert set(schema["enum"]) <= set(re.findall(r"`([a-z_]+)`", rows()[field]))


def test_every_scope_and_every_level_is_explained_in_the_readme():
    scopes = dict(fields_of_two_levels())["oom.scope"]["enum"]

    assert {*scopes, *LEVELS} <= set(re.findall(r"^ *\| `(\w+)` \|", README.read_text(), re.MULTILINE))


def test_the_excerpt_in_the_readme_is_a_part_of_the_documented_line():
    assert is_part(example(README), example(LINE))


def test_the_readme_names_fields_that_exist():
    top = json_schema()["properties"]
    named = set(re.findall(r"`((?:oom|process|namespace|cgroup|job|host)\.[a-z_.]+)`", README.read_text()))

    assert named
    for path in named:
        schema: dict[str, Any] = {"properties": top}
        for name in path.split("."):
            assert name in properties(schema), path
            schema = properties(schema)[name]


def test_the_readme_is_short_and_names_what_ci_runs():
    lines = README.read_text().splitlines()

    assert len(lines) <= 170
    assert {"sudo make test", "sudo make test-vm"} <= set(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    prose = re.sub(r"^ *(`{3,})[^`]*\n.*?^ *\1$|`[^`\n]+`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, target


@pytest.mark.parametrize("page", [README, *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_every_option_named_is_one_of_a_command(page):
    text = page.read_text()
    named = set(re.findall(r"oomtrace (?:[a-z]+ )?(--[a-z-]+)", text)) | set(re.findall(r"`(--[a-z-]+)[ `]", text))

    assert named <= known_options() | {"--version"}


def test_every_option_is_documented():
    documented = set(re.findall(r"`(--[a-z-]+)", USAGE.read_text()))

    assert known_options() - {"--help"} <= documented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    inline = re.findall(r"`(?:sudo )?make ([a-z][\w.-]*)", page.read_text())
    for target in [*inline, *re.findall(r"^(?:sudo )?make ([a-z][\w.-]*)", code_blocks(page, "sh"), re.MULTILINE)]:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("command", ["demo", "logs", "explain", "report", "scores", "doctor"])
def test_the_options_of_a_command_are_those_of_its_help(command):
    (row,) = re.findall(rf"^\| `{command}\b[^|]*\|[^|]*\| (.+) \|$", USAGE.read_text(), re.MULTILINE)
    help_ = [sys.executable, "-m", "ooMtrace", command, "--help"]
    usage = subprocess.run(help_, capture_output=True, text=True, check=True)
    options = set(re.findall(r"--[a-z][a-z-]+", usage.stdout))

    assert set(re.findall(r"`(--[a-z-]+)`", row)) == options - {"--help"}
