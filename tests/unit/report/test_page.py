# SPDX-License-Identifier: Apache-2.0
"""The page is complete, the same for the same lines, and nothing in a line can become markup or reach a network."""

from __future__ import annotations

import copy
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.explained import CAUSES, line
from support.fleet import fleet_lines

from ooMtrace.report import tallies
from ooMtrace.report.aggregate import Aggregate
from ooMtrace.report.markup import element, escape
from ooMtrace.report.newest import MOST
from ooMtrace.report.page import page
from ooMtrace.report.rest import MOST_FILES, Source

VOID = {"meta", "link"}
ELEMENTS = {
    *("html", "head", "meta", "link", "title", "style", "body", "a", "header", "nav", "main", "section", "div", "span"),
    *("h1", "h2", "h3", "p", "code", "ul", "li", "dl", "dt", "dd", "bdi", "pre", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("svg", "defs", "pattern", "rect", "path", "line", "text"),
}
OUTLINE = """\
h1 Report on OOM kills
h2 Kills over time
caption Kills over time
h2 By workload
caption Workloads with the most kills
h2 By cause
caption What ran out of memory
caption How the victims came to die
h3 What would help
caption First suggestions, by rule
h2 What the memory consisted of
caption Memory by kind
h2 Limits and peak use
caption Limits that were hit most
h2 Repeat offenders
caption Repeat offenders
h2 Losses
caption Kills without a line
h2 Other events
caption Lines by event, each id once
caption SIGKILL from user space, by sender
caption Memory ran out, nothing killed
h2 Incidents
h2 What was read
caption Files
caption Kills by level of the source"""


class Page(HTMLParser):
    """Reads a page strictly: every element must be closed, in order."""

    def __init__(self, document: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self.text = ""
        self.feed(document.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}, []))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if self.open:
            self.found[-1][2].append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def all(self, *tags: str) -> list[tuple[str, dict[str, str], list[str]]]:
        return [one for one in self.found if one[0] in tags]


def page_of(lines: Iterable[dict[str, Any]], files: Iterable[Source] = (Source("a.log", 1),)) -> bytes:
    found = Aggregate()
    for each in lines:
        found.add(each)
    return page(found, tuple(files))


@cache
def fleet() -> bytes:
    return page_of([*fleet_lines(300), line("lost"), line("vm-6.1-no-kill"), line("sigkill")])


def check(document: bytes) -> Page:
    """Check what holds for any page."""
    read = Page(document)
    assert {tag for tag, _, _ in read.found} <= ELEMENTS
    for tag, attributes, _ in read.found:
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "src")], tag
        assert not re.match(r"(?!#)", attributes.get("href", "#")) or attributes["href"] == "data:,"
    assert not [char for char in read.text if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn") and char != "\n"]
    ids = [attributes["id"] for _, attributes, _ in read.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = {attributes["href"][1:] for _, attributes, _ in read.all("a")}
    referred |= {value for _, attributes, _ in read.found for value in re.findall(r"url\(#(\w+)\)", str(attributes))}
    assert referred <= set(ids)
    return read


def test_the_page_has_these_headings_and_tables():
    read = check(fleet())

    outline = [f"{tag} {''.join(text)}" for tag, _, text in read.all("h1", "h2", "h3", "caption")]
    assert "\n".join(row for row in outline if not row.startswith("h3 2026-")) == OUTLINE
    levels = [int(tag[1]) for tag, _, _ in read.all("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_headers_and_can_be_scrolled_by_keyboard():
    document = fleet().decode()
    tables = re.findall(r'<div ([^>]*)><table role="table"><caption>.+?</table>', document, re.DOTALL)

    assert len(tables) == document.count("<table") > 10
    assert all('role="group"' in one and 'tabindex="0"' in one and "aria-label" in one for one in tables)
    rows = document.count('<tr role="row"><th scope="row" role="rowheader">')
    assert document.count("<tr") == document.count('<tr role="row">') == rows + len(tables)
    assert set(re.findall(r"<th\b ?([^>]*)>", document)) <= {
        'scope="row" role="rowheader"',
        'scope="col" role="columnheader"',
        'scope="col" role="columnheader" class="number"',
        'scope="col" role="columnheader" class="when"',
    }
    assert document.count("<td ") == document.count('<td role="cell" data-label="')


def test_every_chart_has_a_text_or_stands_beside_its_numbers():
    read = check(fleet())

    charts = [attributes for _, attributes, _ in read.all("svg")]
    assert [one for one in charts if one.get("role") == "img"]
    for attributes in charts:
        assert (
            attributes.get("aria-hidden") == "true" or "kills over time, one bar for 1 day" in attributes["aria-label"]
        )


def test_kills_of_workloads_and_limits_that_are_not_shown_are_counted(monkeypatch):
    monkeypatch.setattr(tallies, "MOST_GROUPS", 23)
    lines = [
        {
            **line("spike"),
            "id": str(n),
            "cgroup": {"path": f"/{n}"},
            "oom": {**line("spike")["oom"], "memcg": {"path": f"/{n}", "limit": 1 << 20}},
        }
        for n in range(40)
    ]

    assert check(page_of(lines)).text.count("Not shown: 3 or more others, with 20 kills.") == 2


def test_of_very_many_files_those_with_something_wrong_are_shown():
    files = [Source(f"{number}.log", 2) for number in range(MOST_FILES + 9)] + [Source("bad.log", 1, 1)]
    text = check(page_of([], files)).text

    assert "bad.log" in text
    assert "Not shown: 10 files more, with 20 lines." in text


def test_the_policy_allows_this_style_sheet_and_nothing_else():
    document = page_of([]).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', document)
    (css,) = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)

    digest = b64encode(sha256(css.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert "unsafe" not in policy
    assert "url(" not in css
    assert "@import" not in css


def test_the_page_is_the_same_for_the_same_lines():
    assert fleet() == fleet.__wrapped__()


@pytest.mark.parametrize("lines", [[], [line("lost")], [line("exit")], [{"schema": "oomtrace/1", "event": "oom_kill"}]])
def test_a_page_about_almost_nothing_says_so(lines):
    read = check(page_of(lines))

    assert "None" not in re.sub("None is stated", "", read.text)
    assert "no kills" in read.text or "not known" in read.text


def test_the_incidents_that_are_left_out_are_counted():
    kills = [
        {**line("spike"), "id": str(n), "oom": {**line("spike")["oom"], "incident": str(n)}} for n in range(MOST + 5)
    ]
    text = check(page_of(kills)).text

    assert f"The newest {MOST} of {MOST + 5}; 5 older ones are left out." in text
    assert text.count("Killed: python") == MOST


def test_every_cause_is_explained_in_full():
    from ooMtrace.explain.story import explain

    for name in CAUSES:
        if line(name)["event"] in ("oom_kill", "oom_no_kill", "sigkill"):
            assert explain(line(name)).strip() in check(page_of([line(name)])).text


def test_a_deeply_nested_line_is_explained():
    deep: Any = []
    for _ in range(500):
        deep = [deep]

    assert "Killed: python" in check(page_of([{**line("spike"), "new": deep}])).text


def test_what_was_no_line_is_stated():
    files = [Source("<b>.log", 7, 2, ("line 3: it is not JSON",), "no: damaged: <x>"), Source("stdin")]
    text = check(page_of([], files)).text

    assert "<b>.log, line 3: it is not JSON" in text
    assert "no: damaged: <x>" in text


NASTY = (
    "</script><script>alert(1)</script>",
    "</style></title></pre></svg><svg onload=alert(1)>",
    "<!-- --><![CDATA[ ]]>",
    "\" onmouseover='alert(1)' x=\"&lt;&#60;&amp;",
    "\x00\x07\x1b[31m\x7f\x85\u2028\u2029\r\n\t",
    "\u202egnp.exe\u2066\u200f\ufeff\u00ad",
    "\ud800\udcff lone",
    "javascript:alert(1)",
    "`code` {{7*7}} ${7*7}",
    "x" * 5000,
    "",
)
NASTY_UTF_8 = [text for text in NASTY if "\ud800" not in text]
PATTERN = re.compile("|".join(("onload", "onmouseover", "<script")), re.IGNORECASE)


def with_texts(value: Any, texts: Iterable[str]) -> Any:
    """Replace every text in a line, but for what it is read by."""
    supply = iter(texts)

    def changed(part: Any, key: str = "") -> Any:
        if isinstance(part, dict):
            return {name: changed(inner, name) for name, inner in part.items()}
        if isinstance(part, list):
            return [changed(inner) for inner in part]
        if isinstance(part, str) and key not in ("schema", "event", "scope", "limit_owner", "verdict", "time"):
            return next(supply, part)
        return part

    return changed(copy.deepcopy(value))


@given(st.sampled_from(sorted(CAUSES)), st.lists(st.sampled_from(NASTY_UTF_8) | st.text(max_size=20), max_size=80))
@settings(deadline=None, max_examples=20)
def test_no_text_of_a_line_becomes_markup(name, texts):
    check(page_of([with_texts(line(name), texts)] * 2, [Source(texts[0] if texts else "", 1, 1, tuple(texts[:2]))]))


@pytest.mark.parametrize("text", NASTY)
def test_each_nasty_text_in_every_field_stays_text(text):
    utf_8 = text.encode("utf-8", "replace").decode()  # a line is UTF-8; the name of a file need not be
    lines = [with_texts(line(name), [utf_8] * 100) for name in CAUSES]
    read = check(page_of(lines, [Source(text, 1, 1, (text,), text)]))

    assert not [
        tag for tag, attributes, _ in read.found if PATTERN.search(tag) or set(attributes) & {"onload", "onmouseover"}
    ]


def test_only_what_is_built_here_is_html():
    assert escape("<a>&\"'\n\u202e") == "&lt;a&gt;&amp;&quot;&#x27;\n\\u202e"
    assert element("p", {"title": '"><b>'}, "<i>") == '<p title="&quot;&gt;&lt;b&gt;">&lt;i&gt;</p>'
