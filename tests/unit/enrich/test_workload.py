# SPDX-License-Identifier: Apache-2.0
"""What created a pod, from names as the controllers of Kubernetes make them, and names that only look similar."""

from __future__ import annotations

import random
import string
import zlib

import pytest

from ooMtrace.enrich.workload import workload
from ooMtrace.record import KubernetesWorkload

UID = "11111111-2222-3333-4444-555555555555"
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""apimachinery, pkg/util/rand."""


def encoded(number: int) -> str:
    """Return what SafeEncodeString() in apimachinery makes of a number."""
    return "".join(ALPHABET[ord(digit) % len(ALPHABET)] for digit in str(number))


def generated(base: str, randomness: random.Random) -> str:
    """Return what SimpleNameGenerator of the API server makes of `generateName: base-`."""
    return f"{base}-"[:58] + "".join(randomness.choices(ALPHABET, k=5))


def name(randomness: random.Random) -> str:
    letters = string.ascii_lowercase + string.digits
    parts = ["".join(randomness.choices(letters, k=randomness.randint(1, 7))) for _ in range(randomness.randint(1, 4))]
    return "-".join(["w", *parts, "x"])


@pytest.mark.parametrize(
    ("pod", "kind", "expected"),
    [
        ("web-6d4b75cb6d-hx7kd", "Deployment", "web"),
        ("coredns-5d78c9869d-2lhzb", "Deployment", "coredns"),
        ("web-api-6d4b75cb6d-https", "Deployment", "web-api"),
        ("backup-28391040-2lhzb", "CronJob", "backup"),
        ("web-0", "StatefulSet", "web"),
        ("web-12", "StatefulSet", "web"),
        ("kube-proxy-x7k2p", None, "kube-proxy"),
    ],
)
def test_names_that_the_controllers_make_show_the_workload(pod, kind, expected):
    assert workload(pod, UID) == KubernetesWorkload(kind=kind, name=expected)


@pytest.mark.parametrize(
    "pod",
    [
        "",
        "web",
        "-0",
        "web-00",
        "web-01",
        "web-2026",
        "web-https",
        "web-24567",
        "web-proxy",
        "web-6d4b75cb6d",
        "web-6d4b75cb6d-",
        "web-6d4b75cb6d-abcde",
        "index-3-x7k2p",
        "web-20261128-x7k2p",
        "web-45678945-x7k2p",
        "web-5678985-x7k2p",
        "a" * 57 + "-x7k2p",
        "a" * 60 + "-x7k2p",
        "WEB-0",
        "web_1-0",
        "web-0\n",
        "ä-0",
        "a" * 253 + "-0",
    ],
)
def test_names_that_could_be_others_show_nothing(pod):
    assert workload(pod, UID) is None


@pytest.mark.parametrize("pod", ["web-fffffffff5-x7k2p", "web-4bcdbcdb-x7k2p", "web-6d4b75cb6a-x7k2p"])
def test_what_is_no_32_bit_number_in_the_alphabet_is_no_hash(pod):
    assert workload(pod, UID) == KubernetesWorkload(name=pod.removesuffix("-x7k2p"))


def test_a_static_pod_has_the_name_of_its_node_at_the_end():
    assert workload("kube-apiserver-node-0", "0123456789abcdef0123456789abcdef") is None
    assert workload("kube-apiserver-node-0", "") is None


def test_pods_of_deployments_and_cron_jobs_never_show_another_workload():
    randomness = random.Random(3)
    shown = 0
    for number in range(20000):
        owner = name(randomness)
        deployment = generated(f"{owner}-{encoded(zlib.crc32(b'%d' % number))}", randomness)
        scheduled = generated(f"{owner}-{randomness.randint(27_000_000, 39_999_999)}", randomness)

        assert workload(scheduled, UID) in (None, KubernetesWorkload(kind="CronJob", name=owner))
        found = workload(deployment, UID)
        assert found in (None, KubernetesWorkload(kind="Deployment", name=owner)) or found.kind is None, deployment
        shown += found is not None and found.kind == "Deployment"
    assert shown > 19000


def test_pods_of_daemon_sets_and_jobs_show_no_kind():
    randomness = random.Random(4)
    owners = [name(randomness) for _ in range(20000)]

    for owner in owners:
        assert workload(generated(owner, randomness), UID) in (None, KubernetesWorkload(name=owner))


def test_any_text_at_all_raises_nothing():
    randomness = random.Random(5)
    for _ in range(20000):
        text = "".join(randomness.choices("abc-0124567.\n\udc80é", k=randomness.randint(0, 70)))
        workload(text, UID)
        workload(UID, text)
