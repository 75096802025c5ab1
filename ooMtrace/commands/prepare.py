# SPDX-License-Identifier: Apache-2.0
"""`oomtrace prepare`: compile the BPF programs now, so that no start has to."""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing

from ooMtrace.commands import Say, options
from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.features import observe
from ooMtrace.kernel.plan import plan
from ooMtrace.probe.image_cache import cache_path, open_cache
from ooMtrace.probe.loader import Probe


def run(arguments: Namespace, say: Say) -> int:
    """Compile what a tracer with these options would, load it once, and keep it in the cache.

    Raises:
        CannotTraceError: No level can be reached, or the cache cannot be used.
        ProbeError: The compiler or the kernel rejected a program.
    """
    cache = open_cache(say)
    if cache is None:
        raise CannotTraceError(f"the cache {cache_path()} cannot be used", "run it as root: sudo oomtrace prepare")
    with closing(cache):
        features = observe(store=cache)
        chosen = plan(features, options.settings(arguments))
        if not chosen.program:
            say(f"level {chosen.level} needs no BPF programs: there is nothing to compile")
            return 0
        known = cache.read(chosen, features.release) is not None
        Probe(chosen, features.release, cache, attach=False).close()
        if cache.read(chosen, features.release) is None:
            raise CannotTraceError(f"the cache {cache.path} cannot be written", "check its free space and its mount")
    did = "were compiled already" if known else "are compiled"
    say(f"the BPF programs for level {chosen.level} {did}, in {cache.path}")
    return 0
