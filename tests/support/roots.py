# SPDX-License-Identifier: Apache-2.0
"""Debian root trees, built once and cached: building one takes most of a test's time."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vm.debs import source_line
from vm.host import locked, output_of, published

DOCUMENTS = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
# no test uses a tree for as long as this
UNUSED_AFTER_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a tree is made of; `variant` is mmdebstrap's, `extra` what else its builder puts in."""

    suite: str
    variant: str
    packages: tuple[str, ...]
    unwanted: tuple[str, ...] = DOCUMENTS
    extra: tuple[str, ...] = ()


def root(folder: str, recipe: Recipe, finish: Callable[[Path], None] = lambda _: None) -> Path:
    """Return the tree from a folder of the cache, or build it there; `finish` completes a new one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / folder
    found = cache / f"{recipe.suite}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"
    with locked(cache):
        _drop_unused(cache, found)
        if not found.exists():
            with published(found) as draft:
                _bootstrap(recipe, draft)
                finish(draft)
        os.utime(found)
    return found


def _drop_unused(cache: Path, wanted: Path) -> None:
    """Remove unused trees, and drafts of builds that were killed: this process holds the lock."""
    for other in cache.iterdir():
        unused = other.name.startswith(".") or time.time() - other.stat().st_mtime > UNUSED_AFTER_S
        if other.is_dir() and other != wanted and unused:
            shutil.rmtree(other)


def _bootstrap(recipe: Recipe, tree: Path) -> None:
    output_of(
        [
            # however the build ends, neither a mount nor a process of it is left
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            "mmdebstrap",
            "--mode=root",
            f"--variant={recipe.variant}",
            "--format=directory",
            f"--include={','.join(recipe.packages)}",
            '--aptopt=Apt::Install-Recommends "false"',
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.unwanted),
            recipe.suite,
            tree,
            source_line(recipe.suite),
        ]
    )
