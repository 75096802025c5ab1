# SPDX-License-Identifier: Apache-2.0
"""Which names announce a secret: tables of words, and how sure each makes that the value is one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Grade = Literal["sure", "label", "option", "opaque", "number"]
"""What a name says about its value, from the most to the least.

sure: a secret after any sign. label: the same, but after a colon a plain word is ordinary text. option: a secret after
`=`, in JSON and as an option, but ordinary text before a colon. opaque: a secret only if the value looks random.
number: as opaque, and a number of four to ten digits is one too.
"""


def any_of(*patterns: str) -> str:
    """Return a pattern that matches what any of them matches."""
    return "|".join(patterns)


HINT = re.compile(
    "(?i)"
    + any_of(
        "pass|kennwort|pwd|pw|secret|cred|tok|jwt|psk|otp|hmac|fernet|key|cookie|authorization|bearer|auth|sess|sig|dsn",
        "sas|salt|community|connection|pin|code|login|enc|private|licen[cs]e|webhook|cvv|mfa|crypt",
    )
)
"""Every name of a secret contains one of these: a quick test, for most names do not."""

SURE = re.compile(
    any_of(
        "(?:pass(?:word|wd|phrase|code|wort)|kennwort|authorization)",
        r"(?<!com)(?<!by)(?<!by_)(?<!ask)(?<!high)(?<!low)(?<!band)(?<!sur)(?<!tres)(?<!multi_)(?<!single_)(?<!two_)"
        r"(?<!first_)(?<!second_)(?<!render_)(?<!num_)pass(?:_|$)",
        r"pwd?(?:_|$)",
    )
)
LABEL = re.compile(
    any_of(
        r"secret(?!ar|ion|e)|credential|fernet|client_?secret",
        r"(?:token|jwt|psk|otp|hmac)s?(?:_|$)|(?:^|_)creds?(?:_|$)",  # not tokenizer
        r"(?:^|_)(?:tok|apikey|api|sk)_?(?:secret|tok|token)(?:_|$)",
        r"(?:api|app|access|account|admin|auth|cookie|customer|decrypt(?:ion)?|deploy|encrypt(?:ion)?|enc|hmac|jwt"
        r"|license|licence|master|private|sdk|session|sess|shared|sign(?:ing)?|storage|subscription|webhook|write|aes"
        r"|service|integration|registration|pre_?shared|unseal|recovery|activation|product|join|bot|root|host_?pri"
        r"|instrumentation|crypt(?:o)?|wep|wpa|tsig|wireguard)_?keys?(?:_|$)",
        r"cookie$|bearer$",
    )
)
OPTION = re.compile(
    r"(?:auth|session|sess(?:ion)?_?id|signature|connection_?strings?|conn_?str|webhook|webhook_ur[il]"
    r"|(?:^|_)(?:sig|dsn|sas|salt|community|sasl|php_?sessid|sid_token))$"
)
NUMBER = re.compile(
    r"(?:^|_)(?:pin|otp|totp|mfa|cvv|cvc|tan|(?:auth|verification|access|one_time|security)_code|code)$"
)
OPAQUE = re.compile(r"(?:^|_)(?:key|login|enc|private|licen[cs]e|sid|user_?key|access|hash_key)$")

HARMLESS = re.compile(
    r"^(?:max|min|num|eos|bos|pad|unk|cls|sep|mask|top|new)_.*token|^(?:max|min|num)_"  # tokens of language models
    r"|_(?:files?|filename|paths?|dir|directory|folder|store|name|namespace|type|method|mode|mechanism|provider|class"
    r"|policy|ur[il]|host|port|endpoint|server|service|ttl|timeout|expir(?:y|es|ation)|lifetime|interval|length|len"
    r"|size|count|limit|rate|age|env|fd|stdin|prompt|format|encoding|encryption|algorithm|alg|version|enabled|disabled"
    r"|required|arn|manager|backend|bucket|header|field|param|config|reset|job|worker|queue|controller|handler|table"
    r"|domain|plugin|factory|column|label|index|user|username|uid|rotation|scope|issuer|audience|realm|source|ref"
    r"|id_format|event|hint|min|max|chars?|rules?|regex|pattern|validator|strength)$"
    r"|(?:exit|status|error|country|area|zip|postal|return|response|http|lang(?:uage)?|op|byte|qr|bar|reason|page"
    r"|currency|state|region|source|event|result)_?code$"
    r"|(?:primary|foreign|sort|partition|index|cache|routing|public|row|group|object|s3|lookup|dict|map|config|registry"
    r"|row|hot|host|cluster|shard)_keys?$"
)
"""Names of something about a secret, or of another kind of code or key: not of the secret itself."""

GRADES: tuple[tuple[re.Pattern[str], Grade], ...] = (
    (SURE, "sure"),
    (LABEL, "label"),
    (OPTION, "option"),
    (NUMBER, "number"),
    (OPAQUE, "opaque"),
)
STILL_SECRET = re.compile(r"webhook_ur[il]$")
SWITCH = re.compile(r"(?:no|without|with|disable|enable|skip|use|allow|require|ask|prompt)_|noauth")
"""Options with this prefix take no value: what follows is something else."""

HUMP = re.compile("(?<=[a-z0-9])(?=[A-Z])")
SEPARATORS = str.maketrans("-.:", "___")


def plain(name: str) -> str:
    """Return a name in lower case, its words separated by `_`, whatever separated them."""
    return HUMP.sub("_", name.lstrip("-/_")).translate(SEPARATORS).lower()


def grade(name: str) -> Grade | None:
    """Return what a name says about its value; None: nothing."""
    return _grade(plain(name)) if HINT.search(name) else None


@lru_cache(maxsize=512)
def _grade(words: str) -> Grade | None:
    if HARMLESS.search(words) and not STILL_SECRET.search(words):
        return None
    return next((found for pattern, found in GRADES if pattern.search(words)), None)


def is_switch(name: str) -> bool:
    """Return whether an option takes no value."""
    return bool(SWITCH.match(plain(name)))
