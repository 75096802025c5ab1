# SPDX-License-Identifier: Apache-2.0
"""Containers of a user's podman, in scopes of the user's systemd."""

import _podman
from _scenario import scenario
from _units import linger

with scenario() as run:
    linger()
    _podman.check(run, rootless=True)
