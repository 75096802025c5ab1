# SPDX-License-Identifier: Apache-2.0
"""The cache of names: its bounds, and how long the names of a removed container are kept."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from ooMtrace.enrich.container_names import Names
from ooMtrace.enrich.name_cache import GRACE_NS, MAX_BYTES, MAX_CONTAINERS, NameCache, size_of

LONG = "\N{GRINNING FACE}" * 255


def typical(number: int) -> Names:
    """Return names as a container in a pod has them; each text is an object of its own, as if it were read."""
    labels = {"app.kubernetes.io/name": f"shop-{number}", "app.kubernetes.io/component": f"worker-{number}"}
    return Names(
        runtime="containerd",
        image=f"registry.example.com/team/application-{number}:2026.11.28",
        labels=labels,
        namespace=f"production-{number}",
        pod=f"application-{number}-5c9f8d7b6-x2v4q",
        pod_container=f"application-{number}",
        sandbox=f"{number:064x}",
        restart_count=1000 + number,
    )


def largest(number: int) -> Names:
    """Return names that take as much memory as a hostile image or pod can make them take."""
    text = f"{number}{LONG}"[:255]
    labels = {f"label {i}": f"{i}{text}"[:255] for i in range(12)}
    return Names("docker", text, text[:254], labels, True, text[:253], text[:252], text[:251], text[:250], number)


def bytes_of(make, count: int) -> tuple[NameCache, int]:
    tracemalloc.start()
    cache = NameCache()
    for number in range(count):
        cache.store(f"{number:064x}"[:64], make(number), 0)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return cache, size


def test_1000_containers_of_pods_are_kept_in_4_mb():
    cache, size = bytes_of(typical, 1000)

    assert len(cache) == 1000
    assert size < 4_000_000


def test_however_long_their_names_are_the_containers_are_kept_in_4_mib():
    cache, size = bytes_of(largest, 1000)

    assert 50 < len(cache) < 1000
    assert size < 4 << 20


def test_the_estimated_size_is_not_below_the_real_one():
    for make in (typical, largest):
        _, size = bytes_of(make, 100)
        assert size <= sum(size_of(make(number)) for number in range(100)) * 1.05


def test_of_too_many_containers_the_oldest_are_evicted():
    cache = NameCache()
    for number in range(MAX_CONTAINERS + 2):
        cache.store(str(number), Names(container="x"), 0)

    assert len(cache) == MAX_CONTAINERS
    assert [name in cache for name in ("0", "1", "2", str(MAX_CONTAINERS + 1))] == [False, False, True, True]


def test_removed_containers_are_evicted_before_those_that_run():
    cache = NameCache(max_containers=3)
    for name in "abc":
        cache.store(name, Names(container=name), 0)
    cache.mark_removed("c", 1)
    cache.mark_removed("b", 2)
    cache.store("d", Names(container="d"), 3)
    cache.store("e", Names(container="e"), 3)

    assert [name in cache for name in "abcde"] == [True, False, False, True, True]


def test_names_of_a_removed_container_are_kept_for_a_minute():
    cache = NameCache()
    cache.store("a", Names(container="a"), 0)
    cache.store("b", Names(container="b"), 0)
    cache.mark_removed("a", 10)
    cache.mark_removed("a", 11)

    cache.mark_removed("b", 10 + GRACE_NS - 1)
    assert cache.get("a") == Names(container="a")
    cache.store("c", Names(container="c"), 10 + GRACE_NS)
    assert cache.get("a") is None
    assert [name in cache for name in "bc"] == [True, True]


def test_a_container_that_is_started_again_is_no_longer_removed():
    cache = NameCache()
    cache.store("a", Names(container="a"), 0)
    cache.mark_removed("a", 10)
    cache.store("a", Names(container="b"), 20)
    cache.store("c", Names(container="c"), 10 + 2 * GRACE_NS)

    assert cache.get("a") == Names(container="b")


def test_an_unknown_container_that_is_removed_takes_no_memory():
    cache = NameCache()
    for number in range(100):
        cache.mark_removed(str(number), 0)

    assert not cache._removed


def test_bytes_are_given_back_when_names_are_replaced_or_evicted():
    cache = NameCache(max_containers=1)
    for number in range(50):
        cache.store("a", replace(largest(number)), 0)
        cache.store(f"{number}", largest(number), 0)

    assert len(cache) == 1
    assert cache._bytes == size_of(largest(49)) < MAX_BYTES
