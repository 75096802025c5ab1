# SPDX-License-Identifier: Apache-2.0
"""Redaction, judged by a corpus of command lines that was written before it. docs/privacy.md states the figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cmdlines import Line, kept, leaked, output, read

from ooMtrace.enrich.redact import redact

PRIVACY = Path(__file__).parents[3] / "docs/privacy.md"
SECRETS = [*read("secrets"), *read("held_out_secrets"), *read("later_secrets")]
NOT_RECOGNIZED = [*read("not_recognized")]
HARMLESS = [*read("harmless"), *read("held_out_harmless"), *read("later_harmless")]
MIN_LINES, MIN_KEPT = 400, 0.99


@dataclass(frozen=True)
class Figures:
    secret_lines: int
    leaking_lines: int
    harmless_lines: int
    words: int
    kept_words: int

    def sentence(self) -> str:
        return (
            f"{self.secret_lines - self.leaking_lines} of {self.secret_lines} command lines with secrets show "
            f"nothing of them, and {self.kept_words} of {self.words} words of {self.harmless_lines} harmless ones stay"
        )


def _measure() -> Figures:
    scrub = redact()
    return Figures(
        secret_lines=len(SECRETS) + len(NOT_RECOGNIZED),
        leaking_lines=sum(bool(leaked(line, output(scrub(line.victim())))) for line in (*SECRETS, *NOT_RECOGNIZED)),
        harmless_lines=len(HARMLESS),
        words=sum(kept(line, output(line.victim())) for line in HARMLESS),
        kept_words=sum(kept(line, output(scrub(line.victim()))) for line in HARMLESS),
    )


@pytest.mark.parametrize("line", SECRETS, ids=lambda line: line.text[:60])
def test_no_secret_of_the_corpus_is_in_the_output(line: Line):
    assert line.secrets
    assert not leaked(line, output(redact()(line.victim())))


@pytest.mark.parametrize("line", SECRETS, ids=lambda line: line.text[:60])
def test_a_secret_without_blanks_is_not_in_a_title_either(line: Line):
    """A title has no quotes around an argument with blanks, so where it ends cannot be known."""
    if not any(" " in secret for secret in line.secrets) and line.text not in ONLY_AS_ARGUMENTS:
        assert not leaked(line, output(redact()(line.as_title())))


ONLY_AS_ARGUMENTS = {
    # In a title `some-token: running` is a state.
    "curl -H 'x-auth-token: mellonfriend' https://host.example.org/",
    # Words after a name, neither of them an argument of its own.
    "app password hunter22",
    "aws configure set default.aws_secret_access_key justwords",
    "pulumi config set --secret dbPassword pulumipw1",
    "pdftk a.pdf input_pw pdfpass12 output b.pdf",
    # Without its quotes a value ends at the first blank.
    "mpop --passwordeval 'echo mpoppass1'",
    "impala-shell --ldap_password_cmd='echo impalapw1'",
    "restic -r /repo --password-command 'echo resticpw1' backup /srv",
}


def test_the_words_of_harmless_command_lines_are_kept():
    figures = _measure()
    print(figures.sentence())

    assert figures.secret_lines + figures.harmless_lines >= MIN_LINES
    assert figures.kept_words >= MIN_KEPT * figures.words


def test_the_documentation_states_the_figures():
    assert _measure().sentence() in " ".join(PRIVACY.read_text().split())
