# SPDX-License-Identifier: Apache-2.0
"""The labels that a line may have: only those of the list, bounded, and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ooMtrace.enrich.container_labels import LABELS, select_labels

ROOT = Path(__file__).parents[3]


def test_labels_are_those_of_the_list_in_its_order():
    labels = {"maintainer": "x", "com.docker.compose.service": "web", "com.docker.compose.project": "shop"}

    selected, redacted = select_labels(labels)

    assert list((selected or {}).items()) == [
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", "web"),
    ]
    assert not redacted


@pytest.mark.parametrize("labels", [None, {}, [], "x", 7, {"maintainer": "x"}])
def test_without_such_labels_there_are_none(labels):
    assert select_labels(labels) == (None, False)


@pytest.mark.parametrize("value", ["", "x" * 256, "a\x1b[31mb", "a\nb", "\u202e", 7, None, ["x"], {"x": "y"}])
def test_a_value_that_is_no_short_printable_text_is_left_out(value):
    assert select_labels({"com.docker.compose.project": value}) == (None, False)


def test_the_first_source_that_has_a_label_counts():
    first, second = {"com.docker.compose.project": "a"}, {"com.docker.compose.project": "b", LABELS[1]: "c"}

    assert select_labels(None, first, second)[0] == {"com.docker.compose.project": "a", LABELS[1]: "c"}


@pytest.mark.parametrize(
    "value", ["postgres://app:hunter2@db/shop", "--password=hunter2", "token=ghp_" + "a1B2" * 9, "AKIAIOSFODNN7EXAMPLE"]
)
def test_a_secret_in_a_label_is_replaced(value):
    selected, redacted = select_labels({"com.docker.compose.project": value})

    assert redacted
    assert selected is not None
    assert "REDACTED" in selected["com.docker.compose.project"].upper() or "*" in selected["com.docker.compose.project"]
    assert value not in selected.values()
    assert "hunter2" not in str(selected)


def test_the_documentation_lists_the_labels():
    text = (ROOT / "docs/identity.md").read_text()

    assert [name for name in LABELS if f"`{name}`" not in text] == []
