# SPDX-License-Identifier: Apache-2.0
"""The list of faults, and how it is read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = Path(__file__).with_name("faults.toml")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, as somebody might make it; it has one of `test`, `vm` and `harmless`.

    Attributes:
        name: What would be wrong for the user.
        file: Where it is put, from the top of the tree.
        old, new: The text that is replaced, once in that file, and what it is replaced by.
        test: What must fail: names of tests for pytest.
        vm: Which scenario of `make test-vm` on which kernel notices it, where no test on this machine can.
        harmless: Why nothing need notice it.
    """

    name: str
    file: str
    old: str
    new: str
    test: str = ""
    vm: str = ""
    harmless: str = ""

    @property
    def on_host(self) -> bool:
        """Whether only a test that needs root and a kernel notices."""
        return "tests/host" in self.test


def load(path: Path = LIST) -> list[Fault]:
    """Read the list."""
    return [Fault(**fields) for fields in tomllib.loads(path.read_text())["fault"]]
