# SPDX-License-Identifier: Apache-2.0
"""A module in place of BCC's."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def fake_bcc(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    module = SimpleNamespace(__version__="0.26.0", BPF=object)
    monkeypatch.setitem(sys.modules, "bcc", module)
    return module
