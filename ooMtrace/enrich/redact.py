# SPDX-License-Identifier: Apache-2.0
"""Replaces what looks like a secret in every free text of the victim, so that secrets do not leave the host.

A secret is recognized by its name (`--password x`, `DB_TOKEN=x`, `"api_key": "x"`) or by its own shape (`ghp_...`, the
password in a URL). After a name and `=` nearly everything counts as a secret; a title that merely mentions passwords
does not. All patterns take linear time, for the victim chose the text: an unlimited repetition either begins where no
earlier match could, or ends the match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ooMtrace.enrich import Enricher
from ooMtrace.record import Connection, Endpoint, OomKill, Process

MASK = "********"

MAX_PASSES = 32
"""The second pass nearly always finds nothing more; the limit is for texts made to need one pass after the other."""

END = "\0"
"""Precedes each argument, for no argument contains it; a title has none. So the same patterns apply to both."""


def _any(*patterns: str) -> str:
    return "|".join(patterns)


TOKENS = _any(
    r"A(?:KIA|SIA|ROA)[A-Z0-9]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}",
    r"gl(?:pat|rt|dt|ptt|ft|soat|cbt|imt|agent)-[\w-]{16,}",  # GitLab
    r"xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}",  # Slack
    r"[rs]k_(?:live|test)_\w{10,}|whsec_\w{10,}",  # Stripe
    r"AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}",  # Google
    r"npm_[A-Za-z0-9]{30,}|pypi-Ag[\w-]{30,}|rubygems_[0-9a-f]{32,}|dckr_pat_[\w-]{20,}",
    r"sk-(?:ant|proj|svcacct|admin|or)-[\w-]{20,}|sk-[A-Za-z0-9]{32,}|hf_[A-Za-z0-9]{30,}",  # language models
    r"do[opr]_v1_[0-9a-f]{32,}|dapi[0-9a-f]{32}|NRAK-[A-Z0-9]{20,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}|key-[0-9a-f]{32}",  # mail senders
    r"hv[sb]\.[\w-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{50,}|sq0[a-z]{3}-[\w-]{20,}|ATATT3[\w=-]{20,}",
)

SHAPES = [
    re.compile(pattern)
    for pattern in (
        # A key file, up to its last line or to where it was truncated.
        rf"(?P<secret>-----BEGIN [A-Z ]{{0,40}}PRIVATE KEY[^{END}]*?(?:-----END [A-Z ]{{0,40}}-----|(?={END})|\Z))",
        rf"(?<![A-Za-z0-9])(?P<secret>{TOKENS})",
        r"(?<![\w-])(?P<secret>eyJ[\w-]{8,}(?:\.[\w-]*){2,4})",  # JSON Web Token
        # scheme://token@host; a short name without digits is a user.
        rf"://(?P<secret>(?![A-Za-z_.-]{{1,15}}:?@)[^\s{END}/?#:@]+)(?=:?@)",
        # scheme://user:password@host; a password may contain `@`, and `/` where it cannot follow a port number.
        rf"://[^\s{END}/?#:\[]*:(?!\d{{1,5}}[\"'])(?P<secret>[^\s{END}/?#]+)@",
        rf"://[^\s{END}/?#:@\[]*:(?!\d{{0,5}}[/?#,]|\*{{8}}@)(?P<secret>[^\s{END}]{{1,200}})@",
        rf":(?P<secret>[^\s{END}:]{{1,100}})@(?=(?:tcp|udp|unix)\()",  # MySQL data source names of Go
        rf":(?:thin|oci8?):[^\s{END}/:]{{0,60}}/(?P<secret>[^\s{END}@]{{1,100}})@",  # Oracle's JDBC
        rf"[?&](?:key|sig)=(?P<secret>[^\s{END}&#]+)",
        rf"(?:hooks\.slack\.com|webhook\.office\.com)/\w+/(?P<secret>[^\s{END}\"'?]+)",
        r"discord(?:app)?\.com/api/webhooks/\d+/(?P<secret>[\w-]+)",
        r"(?<![A-Za-z0-9])bot\d{6,12}:(?P<secret>[\w-]{30,})",  # Telegram
        rf"(?i)\b(?:bearer|basic)\s+(?P<secret>(?=[^\s{END}]*[\d=])[\w.~+/=-]{{8,}})",
        r"(?i)\b(?:password|secret|token|api[_-]?key)\s+(?P<secret>[0-9a-f]{32,})",
        rf"(?i)\b(?:password|identified\s+by)\s+(?P<quote>['\"])(?P<secret>[^'\"{END}]+)",  # SQL
    )
]
"""Secrets that are recognized by their own shape, anywhere in a text."""

PROGRAMS = [
    (re.compile(rf"(?<![\w.-])(?:{names})(?=[\s{END}])"), re.compile(rf"(?<=[\s{END}]){option}(?![\s{END}-])"))
    for names, option in (
        (r"mysql\w*|mariadb[\w-]*|7z[ar]?|rar|unrar", r"-p"),  # `-p x` prompts for the password: x is something else
        (r"redis-cli|valkey-cli|keydb-cli", rf"-a[\s{END}]*"),
        (r"sshpass|mongo(?:sh|dump|restore|export|import|stat|top)?|mydumper|myloader", rf"-p[\s{END}]*"),
        (r"sqlcmd|bcp|zip|unzip|mosquitto_(?:pub|sub)", rf"-P[\s{END}]*"),
        (r"ldap[a-z]+", rf"-w[\s{END}]*"),
        (r"curl|etcdctl", rf"(?:-[A-Za-z]{{0,8}}[uU]|--(?:proxy-)?user\b)[\s{END}=]*[^\s{END}:-][^\s{END}:]{{0,100}}:"),
        (r"smbclient|rpcclient", rf"(?:-U|--user\b)[\s{END}=]*[^\s{END}%]{{1,100}}%"),
        (r"lftp", rf"-u[\s{END}]*[^\s{END},]{{1,100}},"),
    )
]
"""Program and option: to these programs the option is a password, to others a port or anything else."""

STRONG = re.compile(
    _any(
        r"pass(?:word|wd|phrase|code)|secret(?!ar)|credential",
        r"(?:token|pwd|jwt|psk)s?(?:_|$)|(?:^|_)creds?(?:_|$)",  # not tokenizer
        r"(?:^|_)(?:db|d|p|my|sql|mysql|pg|mongo|redis|ssh|ftp|smtp|mail|http|proxy|user|admin|root|login|key|store"
        r"|master|require|become|bind|rpc|web|app)?pass(?:_|$)",  # not compass, bypass, askpass, highpass
        r"(?:api|app|access|account|admin|auth|cookie|customer|decryption|deploy|encryption|encrypt|hmac|license"
        r"|master|private|sdk|session|shared|signing|storage|webhook|write)_?keys?(?:_|$)",
        r"cookie$|authorization$|bearer$",
    )
)
"""Names of secrets, anywhere in a longer name."""

WEAK = re.compile(r"(?:auth|session|sess(?:ion)?_?id|signature|(?:^|_)(?:sig|dsn))$")
"""Names with this ending are a secret's before `=`, in JSON and as an option, but ordinary text before a colon."""

HARMLESS = re.compile(
    r"^(?:max|min|num|eos|bos|pad)_"  # tokens of language models
    r"|_(?:files?|filename|paths?|dir|directory|folder|store|name|namespace|type|method|mode|mechanism|provider|class"
    r"|policy|ur[il]|host|port|endpoint|server|service|ttl|timeout|expir(?:y|es|ation)|lifetime|interval|length|len"
    r"|size|count|limit|rate|age|env|fd|stdin|prompt|format|encoding|encryption|algorithm|alg|version|enabled|disabled"
    r"|required|arn|manager|backend|bucket|header|field|param|config|reset|job|worker|queue|controller|handler|table)$"
)
"""Names of something about a secret, not of the secret itself."""

SWITCH = re.compile(r"(?:no|without|with|disable|enable|skip|use|allow|require|ask|prompt)_|noauth")
"""Options with this prefix take no value: what follows is something else."""

PLAIN = re.compile(r"(?i)(?:true|false|yes|no|on|off|none|null|nil|\d|\**)[\]}),;\"'\\]*")
"""Values that are not secret under any name."""

NAME = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]+)(?P<close>(?:[\]\"'\\]|%5D){0,4})"
    rf"(?:(?P<sign>=>?|:(?!:|//)\s*|\s+(?:=>?|:(?!:))\s*)|[\s{END}]+(?![\s{END}-]))"
)
"""A name and what separates it from its value: a sign or, after an option, only a space or the next argument."""

WHOLE = (re.compile(rf"(?P<secret>[^{END}]+)"),)
VALUE = (
    # Ends at the same quote with as many escapes, or at the end of a truncated text.
    re.compile(rf"(?P<quote>\\{{0,7}}[\"'])(?P<secret>[^{END}]*?)(?:(?<!\\)(?P=quote)|(?={END})|\Z)"),
    re.compile(rf"(?P<secret>[\[{{][^\]}}{END}]*[^\s{END},]*)"),
    # Also ends before the next `name=` in a list.
    re.compile(rf"(?:(?i:bearer|basic|token|digest)\s+)?(?P<secret>\*{{8}}|(?:(?![,;&][\w.-]+=)[^\s{END}])+)"),
)

SURE = re.compile("(?i)pass|authorization")
WORD = re.compile(rf"[A-Za-z_]{{1,20}}(?=[\s{END},:;()\[\]]|\Z)")
"""After a colon, a plain word counts as a secret only if the name matches SURE."""

HUMP = re.compile("(?<=[a-z0-9])(?=[A-Z])")
SCRIPT = ("-c\0", "-ec\0", "-lc\0", "-xc\0")
"""What precedes a shell's script: an argument that continues after a value."""

CMDLINE_FACTS = ("process.title", "process.command_args")


def redact(*, cmdline: bool = True) -> Enricher:
    """Return an enricher that replaces secrets with MASK, and lists the facts that it changed in `redacted`.

    Args:
        cmdline: Whether a line may contain title and arguments; if not, they are removed and listed in `withheld`.
    """

    def enrich(kill: OomKill) -> OomKill:
        kill = kill if cmdline else _withhold(kill)
        process = _scrub_process(kill.process)
        return kill if process == kill.process else _with_redacted(replace(kill, process=process), kill)

    return enrich


def _withhold(kill: OomKill) -> OomKill:
    known = tuple(name for name in CMDLINE_FACTS if getattr(kill.process, name.removeprefix("process.")) is not None)
    # Listed even if unknown: then `missing` does not list it, and the line is the same whether it was read or not.
    withheld = kill.withheld or known or CMDLINE_FACTS[1:]
    return replace(kill, withheld=withheld, process=replace(kill.process, title=None, command_args=None))


def _facts(process: Process) -> dict[str, object]:
    """Return the facts that may contain a secret, in the order of the record."""
    return {
        "process.title": process.title,
        "process.command_args": process.command_args,
        "process.executable.path": process.executable and process.executable.path,
        "process.working_directory": process.working_directory,
        "process.connections": process.connections,
        "process.environment": process.environment,
    }


def _with_redacted(kill: OomKill, before: OomKill) -> OomKill:
    old, known = _facts(before.process), before.redacted or ()
    changed = [name for name, fact in _facts(kill.process).items() if fact != old[name] or name in known]
    return replace(kill, redacted=(*(name for name in known if name not in changed), *changed))


def _scrub_process(process: Process) -> Process:
    executable, arguments = process.executable, process.command_args
    return replace(
        process,
        title=_text(process.title),
        command_args=None if arguments is None else _arguments(arguments),
        executable=None if executable is None else replace(executable, path=_text(executable.path)),
        working_directory=_text(process.working_directory),
        connections=None if process.connections is None else tuple(map(_connection, process.connections)),
        environment=None if process.environment is None else _environment(process.environment),
    )


def _text(text: str | None) -> str | None:
    return None if text is None else _scrub(text)


def _arguments(arguments: tuple[str, ...]) -> tuple[str, ...]:
    before = "".join(END + argument for argument in arguments)
    after = _scrub(before)
    return arguments if after == before else tuple(after.split(END)[1:])


def _connection(connection: Connection) -> Connection:
    if connection.transport != "unix":
        return connection
    return replace(connection, local=_endpoint(connection.local), remote=_endpoint(connection.remote))


def _endpoint(endpoint: Endpoint | None) -> Endpoint | None:
    return None if endpoint is None else replace(endpoint, address=_text(endpoint.address))


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    def scrub(name: str, value: str) -> str:
        return MASK if _is_secret(name) and not _is_harmless(name, value) else "".join(_arguments((value,)))

    return {name: scrub(name, value) for name, value in environment.items()}


def _scrub(text: str) -> str:
    """Repeat until nothing changes: replacing one secret may uncover another that overlaps with it."""
    for _ in range(MAX_PASSES):
        before, text = text, _scrub_once(text)
        if text == before:
            break
    return text


def _scrub_once(text: str) -> str:
    for shape in SHAPES:
        text = shape.sub(_mask, text)
    return "".join(_pieces_without(text, _find_named(text)))


def _mask(found: re.Match[str]) -> str:
    start, end = found.span("secret")
    return found[0][: start - found.start()] + MASK + found[0][end - found.start() :]


def _pieces_without(text: str, secrets: Iterable[tuple[int, int, str]]) -> Iterator[str]:
    """Yield the text in pieces, secrets masked; each of `secrets` is (start of its name or option, its start, name)."""
    done = 0
    for begin, start, name in sorted(secrets):
        found = _value(text, begin, start) if begin >= done else None
        if found and not _is_harmless(name, found["secret"]):
            yield text[done : found.start("secret")] + MASK
            done = found.end("secret")
    yield text[done:]


def _value(text: str, begin: int, start: int) -> re.Match[str] | None:
    is_argument = text[begin - 1 : begin] == END and not text.endswith(SCRIPT, 0, begin)
    patterns = WHOLE if is_argument or text[start - 1] == END else VALUE
    return next((found for pattern in patterns if (found := pattern.match(text, start))), None)


def _find_named(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the places where a name or an option announces a secret, as `_pieces_without` takes them."""
    for found in NAME.finditer(text):
        if _announces(found):
            yield found.start(), found.end(), found["name"]
    for program, option in PROGRAMS:
        program_name = program.search(text)
        for found in option.finditer(text, program_name.end()) if program_name else ():
            yield found.start(), found.end(), ""


def _announces(found: re.Match[str]) -> bool:
    name, sign = found["name"], found["sign"]
    if not _is_secret(name):
        return False
    if sign is None:
        return name.startswith("-") and not SWITCH.match(_plain_name(name))
    if "=" in sign or '"' in found["close"] or "'" in found["close"]:
        return True
    # Many harmless texts have a colon: module:app, host:port, image:tag, Some::Class, queue:auth:name, task: running.
    before, is_word = found.string[found.start() - 1 : found.start()], WORD.match(found.string, found.end())
    is_label = "." not in name and before not in (":", "@", "/") and (not is_word or bool(SURE.search(name)))
    return is_label and bool(STRONG.search(_plain_name(name)))


def _plain_name(name: str) -> str:
    return HUMP.sub("_", name.lstrip("-")).replace("-", "_").replace(".", "_").lower()


def _is_secret(name: str) -> bool:
    plain = _plain_name(name)
    return bool((STRONG.search(plain) or WEAK.search(plain)) and not HARMLESS.search(plain))


def _is_harmless(name: str, value: str) -> bool:
    """Return whether a value is not secret: that of a switch, one masked before, or the shell's working directory."""
    return bool(PLAIN.fullmatch(value)) or (name.lower().endswith("pwd") and value.startswith("/"))
