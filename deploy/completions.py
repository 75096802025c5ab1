# SPDX-License-Identifier: Apache-2.0
"""Print the completions of a shell, made of the same options as `--help`.

python3 -m deploy.completions bash|zsh|fish
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from deploy.command_line import SUMMARIES, Argument, all_options, operands_of, options_of
from ooMtrace.cli import DEFAULT_COMMAND, HELP, VERSION

FILE, URL, DIRECTORY = "FILE", "URL", "DIR"
"""What the help calls values that are paths; a URL may be one."""

PATHS = {FILE: "file", URL: "file", DIRECTORY: "directory"}
"""Their names in bash."""

GLOBAL = (Argument(HELP, "", (), SUMMARIES["help"]), Argument(VERSION, "", (), SUMMARIES["version"]))

BASH = """\
# bash completion of oomtrace
_oomtrace() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command='' place words=''
    COMPREPLY=()
    # --option=value is three words here
    if [[ $current == = ]]; then
        current=
    elif [[ $previous == = ]]; then
        previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((place = 1; place < COMP_CWORD; place++)); do
        case ${{COMP_WORDS[place]}} in
            {values})
                place=$((place + 1))
                [[ ${{COMP_WORDS[place]}} != = ]] || place=$((place + 1))
                ;;
            -*) ;;
            *)
                command=${{COMP_WORDS[place]}}
                break
                ;;
        esac
    done
    case $previous in
{choices}
        {others})
            return
            ;;
        *)
            case $current:${{command:-{default}}} in
{options}
                -*) ;;
                *:help)
                    words="{commands}"
                    ;;
{operands}
                *)
                    [[ -n $command ]] || words="{commands}"
                    ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -F _oomtrace oomtrace
"""

ZSH = """\
#compdef oomtrace
_oomtrace_commands() {{
    local -a commands=(
{commands}
    )
    _describe -t commands command commands
}}

_oomtrace() {{
    local command='' place
    for ((place = 2; place < CURRENT; place++)); do
        case $words[place] in
            {values})
                ((place++))
                ;;
            {names})
                # the rest is completed as if the command were not there
                command=$words[place]
                words[place]=()
                ((CURRENT--))
                break
                ;;
        esac
    done
    case $command in
{arguments}
    esac
}}

_oomtrace "$@"
"""


def bash() -> str:
    """Return a completion function for bash 4.4 or later."""
    values = [option for option in all_options() if option.value]
    others = [option for option in values if not option.choices and option.value not in PATHS]
    cases = [arm(names(option), f'words="{" ".join(option.choices)}"') for option in values if option.choices]
    for value, kind in PATHS.items():
        if options := [option for option in values if option.value == value]:
            cases.append(arm("|".join(map(names, options)), *bash_paths(kind)))
    return BASH.format(
        values="|".join(map(names, values)),
        choices="\n".join(cases),
        others="|".join(map(names, others)),
        default=DEFAULT_COMMAND,
        commands=" ".join(SUMMARIES),
        options="\n".join(indented(arm(f"-*:{name}", f'words="{" ".join(words)}"')) for name, words in named()),
        operands="\n".join(
            indented(arm(f"*:{name}", *bash_paths(PATHS[FILE]))) for name in SUMMARIES if operands_of(name)
        ),
    )


def named() -> Iterator[tuple[str, list[str]]]:
    """Yield each command with all spellings of its options."""
    for name in SUMMARIES:
        yield name, [spelling for option in [*options_of(name), *GLOBAL] for spelling in option.names]


def bash_paths(kind: str) -> tuple[str, ...]:
    """Return the commands that complete a path."""
    return ("compopt -o filenames", f'mapfile -t COMPREPLY < <(compgen -A {kind} -- "$current")', "return")


def arm(pattern: str, *body: str) -> str:
    """Return one case of a `case` command."""
    return "\n".join([f"        {pattern})", *(f"            {line}" for line in body), "            ;;"])


def indented(text: str) -> str:
    """Return text with the indentation of a case within a case."""
    return "\n".join(f"        {line}" for line in text.splitlines())


def names(option: Argument) -> str:
    """Return the spellings of an option as a pattern."""
    return "|".join(option.names)


def zsh() -> str:
    """Return a completion function for zsh."""
    described = [f"        {quoted(f'{name}:{zsh_text(summary)}')}" for name, summary in SUMMARIES.items()]
    return ZSH.format(
        commands="\n".join(described),
        values="|".join(names(option) for option in all_options() if option.value),
        names="|".join(SUMMARIES),
        arguments="\n".join(
            arm("''" if name is None else name, "_arguments \\\n" + " \\\n".join(zsh_arguments(name)))
            for name in (None, *SUMMARIES)
        ),
    )


def zsh_arguments(command: str | None) -> Iterator[str]:
    """Yield what zsh's _arguments needs for a command; None: none is typed yet."""
    for option in [*options_of(command or DEFAULT_COMMAND), *GLOBAL]:
        for name in option.names:
            value = f"={zsh_value(option)}" if option.value else ""
            equals, _, action = value.partition(":")
            # `*`: it may be given again
            yield " " * 16 + quoted(f"*{name}{equals}[{zsh_text(option.help)}]{f':{action}' if action else ''}")
    for operand in operands_of(command or DEFAULT_COMMAND):
        yield " " * 16 + quoted(f"*:{operand.value}:{zsh_action(operand)}")
    if command in (None, "help"):
        yield " " * 16 + quoted("1: :_oomtrace_commands")


def zsh_value(option: Argument) -> str:
    """Return how zsh completes the value of an option."""
    return f":{zsh_text(option.value)}:{zsh_action(option)}"


def zsh_action(argument: Argument) -> str:
    """Return what zsh offers as a value."""
    paths = {FILE: "_files", URL: "_files", DIRECTORY: "_files -/"}
    return f"({' '.join(argument.choices)})" if argument.choices else paths.get(argument.value, " ")


def zsh_text(text: str) -> str:
    """Return a description in which no sign has a meaning for _arguments and _describe."""
    return "".join(f"\\{sign}" if sign in "\\[]:" else sign for sign in text)


def fish() -> str:
    """Return completions for fish 3.0 or later."""
    lines = ["# fish completion of oomtrace", "complete -c oomtrace -f"]
    lines += [f"complete -c oomtrace {fish_option(option)}" for option in GLOBAL]
    for name, summary in SUMMARIES.items():
        lines.append(f"complete -c oomtrace -n __fish_use_subcommand -a {name} -d {quoted(summary)}")
    lines.append(f"complete -c oomtrace -n '__fish_seen_subcommand_from help' -a {quoted(' '.join(SUMMARIES))}")
    others = " ".join(name for name in SUMMARIES if name != DEFAULT_COMMAND)
    for name in SUMMARIES:
        default = name == DEFAULT_COMMAND
        seen = f"not __fish_seen_subcommand_from {others}" if default else f"__fish_seen_subcommand_from {name}"
        lines += [f"complete -c oomtrace -n {quoted(seen)} {fish_option(option)}" for option in options_of(name)]
        lines += [f"complete -c oomtrace -n {quoted(seen)} -F" for operand in operands_of(name)]
    return "\n".join(lines) + "\n"


def fish_option(option: Argument) -> str:
    """Return the words that declare an option to fish."""
    words = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.choices:
        words.append(f"-x -a {quoted(' '.join(option.choices))}")
    elif option.value:
        paths = {FILE: "-r -F", URL: "-r -F", DIRECTORY: "-x -a '(__fish_complete_directories)'"}
        words.append(paths.get(option.value, "-x"))
    return " ".join([*words, f"-d {quoted(option.help)}"])


def quoted(text: str) -> str:
    """Return a text as one word of any of the shells."""
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]]())
