# SPDX-License-Identifier: Apache-2.0
"""The pieces that prefixes of kernel log lines consist of: decoration, columns, clocks, hosts, tags and stamps. Pure.

Digits are written as 0-9: other scripts have digits of their own, which are user text.
"""

from __future__ import annotations

SENTENCE = (
    r"(?:Memory cgroup out of memory|Out of memory|Killed process [0-9]|Kill process [0-9]|oom-kill:|Tasks? in /"
    r"|Memory cgroup stats for |memory(?:\+swap)?: usage|swap: usage|Mem-Info:|Tasks state |CPU: [0-9])"
)
"""How the kernel's sentences begin that do not begin with a name."""

B = r"[ \t]"
CLOCK_TIME = r"(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?"
STAMP_TIME = r"(?P<s>[0-9]{1,10})\.(?P<us>[0-9]{9}|[0-9]{6}|[0-9]{3})"
FACILITY = (
    r"(?:kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-9])"
    r"\.(?:emerg|alert|crit|err|error|warn|warning|notice|info|debug) +"
)
HOST = rf"(?!{FACILITY}|[0-9]{{4}}-[0-9]{{2}}-|@[0-9a-f]{{24}} |\S*=)(?P<host>[^\s\[<>:](?:\S{{0,253}}[^\s:])?)"
TAG = r"(?:kernel|vmunix|kern(?:\.(?:emerg|alert|crit|err|error|warn|warning|notice|info|debug))?)"
ISO = r"(?P<iso>[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T _][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,](?P<part>[0-9]{1,9}))?"
ZONES = r"(?:UTC|GMT|WES?T|MES?Z|[CE]ES?T|[ECMP][SD]T|BST|IST|JST|KST|MSK|MET)"
ZONE = rf"(?P<zone>Z| ?[+-][0-9]{{2}}:?[0-9]{{2}}| {ZONES}(?= ))?"
ZONE_NAME = rf"(?: (?P<zone>{ZONES}(?= )|[+-][0-9]{{4}}))?"
DIGITS = r"[0-9]{1,2}"
DAY = r"(?P<day>[0-9]{1,2})"
YEAR = r"(?P<year>[0-9]{4})"
WEEKDAY = rf"(?:[^\s|>*#\"'`\[(<-]\S{{0,11}}{B}+)?"
LETTER = r"[^\W0-9_]"
MONTH = rf"(?P<month>{LETTER}{{3,10}}\.?|[0-9]{{1,2}} ?[月월])"
ADDRESS = r"(?P<host>(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7})"

STAMP_AHEAD = r"(?:<[0-9]{1,3}>)?\[ *[0-9]{1,10}\.(?:[0-9]{9}|[0-9]{6}|[0-9]{3})[\] @<s]"
DATE_AHEAD = (
    rf"(?:{LETTER}{{3}}{B}{{1,2}}[0-9]{{1,2}}{B}[0-9]{{2}}:[0-9]{{2}}:|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ][0-9]{{2}}:)"
)
KMSG_AHEAD = r"(?:[\w.+~-]{1,64},)?[0-9]{1,3},[0-9]{1,18},[0-9]{1,18},"
TAG_AHEAD = rf"{TAG}(?:\[[0-9]{{1,10}}\])?: "
AHEAD = rf"(?:{STAMP_AHEAD}|{DATE_AHEAD}|{KMSG_AHEAD}|{TAG_AHEAD})"
"""What follows a word that is a host's or a source's name, and no text."""

WORD = r"[^\s:\[\]<>\"'{}=,;]{1,255}"
FILE_NAME = r"[^\s:\[<>\"'][^:\[<>\"']{0,254}"
MARKUP = r"</?(?:p|li|ul|ol|pre|code|br|span|div|td|tr|font|b|i|em|tt|samp|blockquote)(?: [^<>]{0,128})?/?>"
DATA = r'\[[^\s\]="]{1,64}(?: [^\s=\]"]{1,64}="[^"\]]{0,256}"){0,16}\]'
"""Structured data of RFC 5424."""

STAMP = (
    rf"\[ *{STAMP_TIME}(?:@[0-9]{{1,4}}|s| ?/ ?[0-9: .-]{{1,24}})?(?: *< *[0-9.]+ *>)? ?\]"
    r"(?: ?\[ *(?P<caller>[TC][0-9]{1,10})\])? ?"
)
JOURNAL_STAMP = rf"\[ *{STAMP_TIME} < *[0-9.]+ >\] "
TAGS = (
    rf"(?:{HOST}{B}+)?(?:{FACILITY})?{TAG}(?:\[[0-9]{{1,10}}\])?(?::{B}?|{B}(?=\[ *[0-9]{{1,10}}\.[0-9]))",
    rf"(?:{HOST} +)?{TAG} (?:-|[0-9]+) (?:-|\S{{1,32}}) (?:-|(?:{DATA}){{1,8}}) ? ?\ufeff?",
)
OWN_CLOCKS = (
    rf"\[\S{{1,12}} +(?P<month>\S{{1,12}}) +{DAY} {CLOCK_TIME}(?: {ZONES})? {YEAR}(?: *< *[0-9.]+ *>)?\] ?",
    rf"\[(?:\S{{1,12}} +)?{DAY}\.? +(?P<month>\S{{1,12}}) {CLOCK_TIME} {YEAR}\] ?",
    rf"\[(?:\S{{1,12}} +)?{DAY}\.? +(?P<month>\S{{1,12}}) {YEAR} {CLOCK_TIME}\] ?",
    rf"\[(?P<month>{LETTER}{{3,10}}\.?|[0-9]{{1,2}}[月월]) {{0,2}}{DAY} (?P<clock>[0-9]{{2}}:[0-9]{{2}})\] ?",
)
BRACKETED = rf"\[{ISO}{ZONE}\] ?"
CLOCKS = (
    rf"\S{{2,12}} {ISO} (?P<zone>[A-Z][A-Za-z]{{2,5}}|[+-][0-9]{{2}}(?:[0-9]{{2}})?) ",
    rf"{ISO}{ZONE}(?:[ \t]+|:[ \t]+)",
    rf"{WEEKDAY}{MONTH}{B}+{DAY}{B}{CLOCK_TIME} (?P<zone>UTC|GMT) {YEAR} ",
    rf"{WEEKDAY}{MONTH}{B}+{DAY}{B}{CLOCK_TIME}(?: {ZONES})? {YEAR}{ZONE_NAME} "
    r"(?:\[(?P<unix>[0-9]{9,11}\.[0-9]{3})\] )?",
    rf"{YEAR} {MONTH} +{DAY} {CLOCK_TIME} +",
    rf"{MONTH} +{DAY},? {YEAR},?(?: @| at)? {CLOCK_TIME}{B}+",
    rf"(?:{WEEKDAY}(?=\S{{3,10}} +[0-9]{{1,2}},? [0-9]{{4}}))?{MONTH} {DAY},? {YEAR},?(?: @| at)? {CLOCK_TIME}{B}+",
    rf"{YEAR}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})[T ]{CLOCK_TIME}{B}+",
    rf"(?:\S{{1,12}},? )?{DAY}[ ./-]{MONTH}[ ./-]{YEAR}[ :T]{CLOCK_TIME}{ZONE_NAME}{B}+",
    rf"(?P<first>[0-9]{{1,2}})(?P<mark>[./])(?P<second>[0-9]{{1,2}})[./](?:{YEAR}|[0-9]{{2}}),? {CLOCK_TIME}"
    rf"(?P<half> [AP]M)?{B}+",
    rf"(?:{WEEKDAY}(?=\S{{3,10}} +[0-9]{{1,2}} [0-9]{{2}}:))?\*?{MONTH}{B}+{DAY}{B}{CLOCK_TIME}{ZONE_NAME}:?{B}+",
    rf"{DAY}\.? {MONTH} {CLOCK_TIME} +",
    rf"(?P<unix>[0-9]{{9,11}}\.(?:[0-9]{{9}}|[0-9]{{6}}|[0-9]{{3}})){B}",
    rf"(?P<unix>[0-9]{{10}}){B}+(?={AHEAD}|{WORD}{B}+{AHEAD})",
    rf"(?P<unix>[0-9]{{10}})(?P<ms>[0-9]{{3}}){B}+(?={AHEAD}|{WORD}{B}+{AHEAD})",
    r"type=KERNEL msg=audit\((?P<unix>[0-9]{9,11}\.[0-9]{3}):[0-9]{1,18}\): ",
)
CLOCK_ONLY = rf"\[?[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]{{1,9}})?\]?{B}+|@[0-9a-f]{{24}} "
ANDROID = (
    rf"(?P<head>(?:(?P<year>[0-9]{{4}})-)?(?P<month>[0-9]{{2}})-{DAY} {CLOCK_TIME}(?: (?P<zone>[+-][0-9]{{4}}))?"
    r"(?: +[a-z]\w{0,31})? +[0-9]{1,10} +[0-9]{1,10} [VDIWEF] )(?P<tag>\S{0,64}?) *: ",
    rf"(?:(?:(?P<year>[0-9]{{4}})-)?(?P<month>[0-9]{{2}})-{DAY} {CLOCK_TIME} +)?"
    r"[VDIWEF]/(?P<tag>[^\s:(]{0,64}) *(?:\( *[0-9]{1,10}(?: *: *[0-9]{1,10})?\))?: ",
)
RELAY = rf"{ADDRESS}(?::[0-9]{{1,5}})? +(?:(?={SENTENCE})|(?!\S+: )(?!\S+\[[0-9]+\]: ))"
RELAY_NAMED = rf"{HOST}{B}+(?={STAMP_AHEAD}|{DATE_AHEAD}|{KMSG_AHEAD})"
RELAY_TWICE = rf"{WORD} +(?={WORD} +{TAG_AHEAD})"
SENDER = rf"(?P<host>(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}})(?::[0-9]{{1,5}})?:? +(?=\[ *[0-9]{{1,10}}\.[0-9]|{SENTENCE})"
TALOS = rf"(?:(?P<host>\S{{1,255}}): )? *(?P<facility>[a-z]+): +[a-z]+: \[{ISO}{ZONE}\]: "
EXTENDED = r"(?:[\w.+~-]{1,64},)?(?P<priority>[0-9]{1,10}),[0-9]{1,18},(?P<us>[0-9]{1,18}),[^;\s]{0,64};"
PRIORITY = (
    r"(?:[0-9]{1,5} (?=<[0-9]{1,3}>1 ))?<(?P<priority>[0-9]{1,3})>(?P<version>1 (?=[0-9]{4}-|- ))? ?"
    r"(?P<next>(?=\w{3} [ 0-9][0-9] [0-9]{2}:|[0-9]{4}-))?"
)
FACILITY_NUMBER = r"<(?P<number>[0-9]{1,2})\.[0-9]{1,3}> "
LEVEL = r"(?P<facility>[a-z]+[0-9]?) *:[a-z]+ *: ?"
FACILITY_NAME = rf"{FACILITY}(?={DATE_AHEAD})"
REPEATED = r"message repeated [0-9]{1,9} times: \[ ?"
LABELS = rf'\{{(?:[^{{}}"]|"[^"]{{0,256}}"){{0,64}}\}}{B}+'
"""Of a stream, as logcli prints them."""

CALLERS = (
    r"[-.]?\([0-9]{1,4}\)\[[0-9]{1,10}:[^\]]{0,15}\] ?",
    r"c[0-9]{1,3} +(?:[0-9]{1,10} +)?(?:\([^)]{0,15}\) +)?",
    r"[A-Z]?\[ *[0-9]{1,4}: *[^\]]{1,15}: *[0-9]{1,10}\] ?",
    rf" {{1,8}}(?=\([0-9]{{1,4}}\)\[[0-9]|\[ *[0-9]{{1,4}}: |{SENTENCE})",
    rf"\|{B}+(?={SENTENCE})",
    r"\[[0-9]{4}:[0-9]{2}:[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\] ?",
    r"\[pid:[0-9]{1,10},cpu[0-9]{1,4},[^\]]{0,15}\] ?",
    r"\[[0-9]{1,2}(?:;[0-9]{1,2}){0,4}m",
    MARKUP,
)
"""Who printed the line, as vendors' kernels write it after the stamp; and what formatting is left there."""

DECORATIONS = (
    r"(?:[\s>|*•·`#/\"'\ufeff\u200b\u00a0]|&gt;)+",
    MARKUP,
    r"\[[0-9]{0,2}(?:;[0-9]{1,2}){0,4}m",
    r"\[(?:'|\"|[ xX]\] )",
    r"[-+] +|\+(?=[\[<])|[0-9]{1,6}[.)] +",
    rf"[0-9]{{1,7}}:?{B}+(?=[\[<]|{TAG_AHEAD}|{DATE_AHEAD})",
    rf"\[\w[\w./@:-]{{0,255}}\]{B}+(?={AHEAD})",
    rf"\([0-9]{{1,7}}\){B}+(?={AHEAD})",
    rf"[^\w\[<{{]{{1,8}}(?={AHEAD})",
    rf"\S{{1,128}}[#$%]{B}+(?={STAMP_AHEAD})",
    rf"\S{{1,128}} login: *(?={STAMP_AHEAD})",
    rf"<[ @+]?[A-Za-z][\w|`^-]{{0,31}}> (?={AHEAD})",
    r"(?:- )?(?:textPayload|message|msg|log|line): *['\"]?(?=\[)",
    r"[VDIWEF]\( *[0-9]{1,10}(?: *: *[0-9]{1,10})?\) (?=\[)",
    rf"(?:{WORD}{B}+){{0,2}}{WORD}{B}*\|{B}+(?={AHEAD})",
    rf"{WORD}>{B}+(?={AHEAD})",
    rf"(?:{WORD}{B}+){{1,2}}(?={WORD}{B}+{DATE_AHEAD}|{DATE_AHEAD})",
    rf"(?:[^\s:\[<>]{{1,255}}?[:-])?(?:[0-9]{{1,9}}[:-]){{0,2}}(?={AHEAD}|{MONTH} +{DIGITS} [0-9]{{2}}:|{SENTENCE})",
    rf"(?:[A-Za-z]:\\)?{FILE_NAME}:(?:[0-9]{{1,9}}:){{0,2}}(?={AHEAD})",
)
DELTAS = r"\[(?: *\+| *< *)[0-9]{1,10}\.[0-9]{6}>?\] ?"
"""What `dmesg -e` and `dmesg -d` print instead of a time."""

CALLER_ONLY = r"\[ *(?P<caller>[TC][0-9]{1,10})\] ?"
"""Of a log without times (printk.time=0)."""

NAMED_HOST = (
    rf"(?=\w*[A-Za-z])(?P<host>\w(?:[\w.-]{{0,253}}\w)?)(?:: *|{B}+)(?:\[(?:stdout|stderr)\] )?(?={STAMP_AHEAD})"
)
"""A host before a stamp, as tools print it that run a command on several hosts."""
