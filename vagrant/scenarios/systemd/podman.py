# SPDX-License-Identifier: Apache-2.0
"""Containers of root's podman, in scopes of systemd: the whole container, and a child of its first process."""

import _podman
from _scenario import scenario

with scenario() as run:
    _podman.check(run)
