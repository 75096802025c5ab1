# SPDX-License-Identifier: Apache-2.0
"""Types of descriptors by their mode, as open_files names them: written down independently of the product."""

from __future__ import annotations

import stat

KINDS = {
    stat.S_IFREG: "regular",
    stat.S_IFDIR: "directory",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    0: "anonymous",
}
"""S_IFMT() of st_mode -> its name in a line. Until 6.15 anonymous inodes have no type at all."""
