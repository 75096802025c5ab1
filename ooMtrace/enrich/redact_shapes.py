# SPDX-License-Identifier: Apache-2.0
"""Secrets that are recognized by their own shape: well-known tokens, user information of URLs, random-looking values.

Every repetition without a limit ends at a character that begins the next match, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ooMtrace.enrich.redact_names import any_of

Span = tuple[int, int]
"""Start and end of a secret in the text."""

END = "\0"
"""Precedes each argument, for no argument contains it; a title has none."""

TOKENS = any_of(
    r"A(?:KIA|SIA|ROA)[A-Z0-9]{12,}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}",
    r"gl(?:pat|rt|dt|ptt|ft|soat|cbt|imt|agent)-[\w-]{16,}|GR1348941[\w-]{10,}",  # GitLab
    r"xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}",  # Slack
    r"[rsp]k_(?:live|test)_\w{10,}|whsec_\w{10,}",  # Stripe
    r"AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}|1//0[\w-]{8,}",  # Google
    r"npm_[A-Za-z0-9]{30,}|pypi-Ag[\w-]{16,}|rubygems_[0-9a-f]{32,}|dckr_pat_[\w-]{20,}",
    r"sk-(?:ant|proj|svcacct|admin|or)-[\w-]{20,}|sk-[A-Za-z0-9]{32,}|hf_[A-Za-z0-9]{30,}",  # language models
    r"do[opr]_v1_[0-9a-f]{32,}|dapi[0-9a-f]{32}|NRAK-[A-Z0-9]{20,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"[0-9a-f]{36,40}NRAL|sha256~[\w-]{12,}|tskey-[\w-]{10,}|sntry[su]_[\w=+/-]{12,}|sq[pua]_[0-9a-f]{12,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}|key-[0-9a-f]{32}",  # mail senders
    r"hv[sbr]\.[\w-]{20,}|s\.[A-Za-z0-9]{24}(?!\w)|AGE-SECRET-KEY-1[A-Z0-9]{50,}|sq0[a-z]{3}-[\w-]{20,}",
    r"ATATT3[\w=-]{20,}|lin_api_\w{20,}|PMAK-[\w-]{20,}|figd_[\w-]{20,}|secret_[A-Za-z0-9]{30,}|EAA[A-Za-z0-9]{40,}",
    r"\$(?:[1256][abxy]?|y|apr1|argon2\w{0,2})\$[^\s\0\"']{8,}",  # hashes of passwords
)

SHAPES = [
    re.compile(pattern)
    for pattern in (
        # A key file, up to its last line or to where it was truncated.
        rf"(?P<secret>-----BEGIN [A-Z ]{{0,40}}PRIVATE KEY(?:[^{END}-]|-(?!----END))*"
        r"(?:-----END [A-Z ]{0,40}-----)?)",
        rf"(?<![A-Za-z0-9])(?P<secret>{TOKENS})",
        r"(?<![\w-])(?P<secret>eyJ[\w-]{8,}(?:\.[\w-]*){0,4}=*)",  # JSON Web Token, or another JSON in base64
        rf":(?:thin|oci8?):[^\s{END}/:]{{0,60}}/(?P<secret>[^\s{END}@:]{{1,100}})@",  # Oracle's JDBC
        rf"(?i)[?&](?:key|sig|code|apikey)=(?P<secret>(?!\d{{1,3}}(?:[&#\s]|$))[^\s{END}&#\"']{{6,}})",
        rf"(?:hooks\.slack\.com|webhook\.office\.com)/\w+/(?P<secret>[^\s{END}\"'?]+)",
        r"discord(?:app)?\.com/api/webhooks/\d+/(?P<secret>[\w-]+)",
        r"(?<![A-Za-z0-9])bot(?P<secret>\d{6,12}:[\w-]{30,})",  # Telegram
        rf"(?i)\b(?:bearer|basic)\s+(?P<secret>(?=[^\s{END}]{{0,80}}[\d=])[\w.~+/=-]{{8,}})",
        r"(?i)\b(?:password|secret|token|api[_-]?key)\s+(?P<secret>[0-9a-f]{32,})",
        rf"(?i)\bpass(?:word|wd|phrase)\s+is\s+(?P<secret>[^\s{END}]+)",
        rf"(?i)\b(?:password|identified\s+(?:with\s+\w+\s+)?by|by\s+password)(?:\s+|\s?\(\s?)"
        rf"(?P<quote>['\"])(?P<secret>[^'\"{END}]+)",
        rf"(?i)\bpass:(?P<secret>[^\s{END}]+)",  # OpenSSL
        rf"\bsecret,[^\s{END}]{{0,60}}?\bdata=(?P<secret>[^\s{END},]+)",  # QEMU
        rf"\b(?:echo|printf)\s+(?:-[neE]+\s+)?[\"']?(?:[\w.-]{{1,40}}:)?(?P<secret>[^\s{END}\"'|:]+)[\"']?"
        r"\s*\|\s*(?:sudo\s+(?:-\w+\s+)?)?"
        r"(?:(?<=sudo )-S|(?<=sudo -S )\w|chpasswd|cryptsetup|passwd|kinit|gpg|docker|podman|su\b|openssl|ecryptfs)",
        rf"assword[^\"{END}]{{0,20}}\"[^\"{END}]{{0,40}}\bsend\s+(?:--\s+)?\"(?P<secret>[^\"{END}]+)",  # expect
        rf"\bsend\s+--\s+\"(?P<secret>[^\"{END}]+)",
        rf"\bchpasswd[\s{END}]*<<<[\s{END}]*[\"']?[\w.-]{{1,40}}:(?P<secret>[^\s{END}\"']+)",
        rf"\bsudo\s+-S\b[^\n{END}]{{0,20}}<<<\s*[\"']?(?P<secret>[^\s{END}\"']+)",
        # user:password@host without a scheme; not an image with its digest, nor a package with its version.
        r"(?<![\w.:/@\\+-])(?!(?:npm|file|link|workspace|patch|mailto|sips?|acct|jar|docker):)"
        rf"(?:[\w.+-]{{1,64}}\\)?[\w.+-]{{1,64}}:(?P<secret>[^\s{END}:/@\"',;]{{3,128}})@(?!sha\d)(?=[\w\[(])",
    )
]


def find_shapes(text: str) -> Iterator[Span]:
    """Yield the secrets of a well-known shape."""
    for shape in SHAPES:
        for found in shape.finditer(text):
            yield found.span("secret")


URL = re.compile(rf"://(?P<rest>(?:(?!://)[^\s{END}\"'<>`])*)")
AUTHORITY = re.compile("[^/?#]*")
PORT = re.compile(r"\d{0,5}(?:[/?#,)]|$)")
MIN_TOKEN = 16
USER = re.compile(r"[A-Za-z_.+-]{1,15}\d{0,3}|(?:[A-Z][a-z]+){2,4}")


def find_user_infos(text: str) -> Iterator[Span]:
    """Yield the passwords and tokens of URLs; what is a user's name only is not one."""
    for found in URL.finditer(text):
        rest, start = found["rest"], found.start("rest")
        authority = AUTHORITY.match(rest)
        at = rest.rfind("@", 0, authority.end() if authority else 0)
        if at < 0:  # a password may contain `/`, where it cannot follow a port number
            colon = -1 if rest.startswith("[") else rest.find(":", 0, authority.end() if authority else 0)
            at = rest.rfind("@") if colon >= 0 and not PORT.match(rest, colon + 1) else -1
        if at < 0:
            continue
        # The user's name may be a mail address: the last `@` ends the password.
        user, colon_sign, _ = rest[:at].partition(":")
        if colon_sign and at > len(user) + 1:
            is_token = len(user) >= MIN_TOKEN and user.isalnum() and any(map(str.isdigit, user))
            yield start + (0 if is_token else len(user) + 1), start + at
        elif not USER.fullmatch(user):
            yield start, start + len(user)


ATOM = re.compile(rf"[^\s{END}\"'=,:;()\[\]{{}}<>|`@&?]+")
"""What may be random as a whole. Everything else separates."""
RUN = re.compile("[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
PART = re.compile("[A-Za-z0-9]+")
ORDINARY = re.compile("[A-Z]?[a-z]{3,}|[A-Z]{2,}|[0-9]+|[a-z]+[0-9]{1,3}")
"""Parts of names: no matter how many, they make no value random."""
BASE64 = re.compile(r"[A-Za-z0-9+/_-]+")
KNOWN = re.compile(
    r"(?:0x)?(?:[0-9a-f]+|[0-9A-F]+)(?:-[0-9a-fA-F]+)*"  # ids, digests, UUIDs, addresses of hardware
    r"|[0-7][0-9A-HJKMNP-TV-Z]{25}"  # ULID
    r"|sha\d{1,3}[-:].*"
)
SCRIPT = re.compile(r"[\\()^*?/]|\$\{|%[A-Za-z]|&&")
SYMBOL = re.compile("[!#$%^&*~+]")
MIN_ATOM, MIN_TWO_CLASSES, MAX_ATOM = 8, 24, 512
PER_RUN, MANY_RUNS, ALL_CLASSES = 2.7, 4, 3
DIGEST_NAME = re.compile(r"sha\d{1,3}[:-]\Z", re.IGNORECASE)


NOT_AS_IS = re.compile(r"%[0-9A-Fa-f]{2}|\*{8}")
"""What is percent-encoded is judged decoded; what is masked, not again."""


def find_opaque(text: str) -> Iterator[Span]:
    """Yield the values that look random: a name of at least eight characters that no one would choose."""
    for found in ATOM.finditer(text):
        start, end = found.span()
        if end - start < MIN_ATOM or text[start] == "-" or NOT_AS_IS.search(text, start, end):
            continue
        padded = end
        while padded < len(text) and padded < end + 2 and text[padded] == "=":
            padded += 1
        if DIGEST_NAME.search(text, max(0, start - 8), start) or text.endswith("-XX:", 0, start):
            continue
        if padded > end and _is_padded(found[0], text, padded):
            yield start, padded
        elif is_opaque(found[0]):
            yield start, end


def _is_padded(atom: str, text: str, end: int) -> bool:
    """Return whether an atom before `=` signs is base64: these are its padding, not the sign of a value."""
    is_last = end == len(text) or text[end] in f" \n\t{END}\"',;)"
    mixed = bool(re.search("[A-Z]", atom) and re.search("[a-z]", atom))
    return is_last and mixed and len(atom) >= MIN_ATOM and bool(BASE64.fullmatch(atom)) and not _is_path(atom)


def is_opaque(value: str) -> bool:
    """Return whether a value looks random: its letters and digits change too often for words, versions or dates."""
    value = value[:MAX_ATOM].strip("+!~^*#%&")
    if len(value) < MIN_ATOM or KNOWN.fullmatch(value) or _is_path(value) or SCRIPT.search(value.replace("/", "")):
        return False
    parts = [part for part in PART.findall(value) if not ORDINARY.fullmatch(part)]
    letters = "".join(parts)
    runs = [run for part in parts for run in RUN.findall(part)]
    if not runs or len(letters) / len(runs) >= PER_RUN + bool(SYMBOL.search(value)):
        return False
    classes = _case(letters) | {"0" for run in runs if run.isdigit()}
    if "0" in classes and SYMBOL.search(value):
        return len(letters) >= MIN_ATOM - 2
    if len(classes) == ALL_CLASSES:
        return len(letters) >= MIN_ATOM and len(runs) >= MANY_RUNS
    return len(classes) > 1 and max(map(len, parts)) >= MIN_TWO_CLASSES


def _case(letters: str) -> set[str]:
    return {name for name, pattern in (("A", "[A-Z]"), ("a", "[a-z]")) if re.search(pattern, letters)}


PATH = re.compile(r"[.~]{0,2}/|[\w@%+.-]+/[\w@%+.-]+/|[A-Za-z]:\\")

FILE = re.compile(r"[^/]\.[a-z][a-z0-9]{0,4}$")


def _is_path(value: str) -> bool:
    """A key in base64 may contain `/`, but then its parts are long and mixed."""
    if FILE.search(value):
        return True
    if not PATH.match(value):
        return False
    parts = value.split("/")
    return value[0] in "/.~" or not any(len(part) > MIN_ATOM + 4 and _is_random(part) for part in parts)


def _is_random(part: str) -> bool:
    runs = RUN.findall(part)
    return len(_case(part)) > 1 and len(part) / max(1, len(runs)) < PER_RUN and not KNOWN.fullmatch(part)
