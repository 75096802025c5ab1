# SPDX-License-Identifier: Apache-2.0
"""The list of faults for `make mutants` fits the tree; what it proves is seen by running it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mutants.faults import Fault, load

ROOT = Path(__file__).parents[2]
FAULTS = load()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_fits_its_file_and_names_what_notices_it(fault: Fault):
    assert (ROOT / fault.file).read_text().count(fault.old) == 1, f"{fault.file}: the text must occur once"
    assert fault.new != fault.old
    if fault.file.endswith(".py"):  # a test that cannot import the file has not noticed the fault
        compile((ROOT / fault.file).read_text().replace(fault.old, fault.new), fault.file, "exec")
    assert [bool(fault.test), bool(fault.vm), bool(fault.harmless)].count(True) == 1
    for test in fault.test.split():
        path, _, function = test.partition("::")
        assert not function or f"def {function.partition('[')[0]}(" in (ROOT / path).read_text(), test
        assert (ROOT / path).exists(), test


def test_no_two_faults_have_the_same_name_or_change():
    assert Counter(fault.name for fault in FAULTS).most_common(1)[0][1] == 1
    assert len({(fault.file, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)
