# SPDX-License-Identifier: Apache-2.0
"""What created a pod, from the pod's name. Pure.

The controllers of Kubernetes append to the name of a workload what these patterns describe. Other names may look alike:
docs/identity.md has the limits.
"""

from __future__ import annotations

import re

from ooMtrace.record import KubernetesWorkload

MAX_GENERATED = 63
"""Length to which names are cut before the random suffix (apiserver, pkg/storage/names/generate.go): a name of that
length may lack the end of the workload's name, and shows nothing.
"""

MAX_NAME = 253

RANDOM = "[bcdfghjklmnpqrstvwxz2456789]{5}"
"""The random suffix (apimachinery, pkg/util/rand): neither vowels nor what looks like them."""

NAME = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"

GENERATED = re.compile(rf"(?P<base>{NAME})-(?P<suffix>{RANDOM})")
REPLICA_SET = re.compile(rf"(?P<name>{NAME})-(?P<hash>[456789bcdf]{{7,10}})")
"""A Deployment's ReplicaSet has the hash of its template, a 32-bit number in these ten characters for 0 to 9."""

SCHEDULED = re.compile(rf"(?P<name>{NAME})-(?P<minute>[0-9]{{8}})")
"""A CronJob's Job has the time that it was scheduled for, in minutes since 1970; since Kubernetes 1.21."""

ORDINAL = re.compile(rf"(?P<name>{NAME})-(?:0|[1-9][0-9]{{0,2}})")
ENDS_WITH_NUMBER = re.compile(r".*-[0-9]+")
LETTERS_OR_DIGITS = re.compile("[a-z]+|[0-9]+")

DIGITS = str.maketrans("456789bcdf", "0123456789")
"""SafeEncodeString() in apimachinery: the decimal digits of a hash, in its alphabet."""

MINUTES = range(26_297_280, 40_000_000)
"""2020 to 2046. From then on a time could also be the hash of a template."""

UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def workload(pod: str, uid: str) -> KubernetesWorkload | None:
    """Return what created a pod; None if its name does not show it.

    Args:
        pod: Name of the pod.
        uid: Uid of the pod. Only static pods have another form than a UUID, and theirs end with the node's name.
    """
    if not UUID.fullmatch(uid) or len(pod) > MAX_NAME:
        return None
    if found := ORDINAL.fullmatch(pod):
        return KubernetesWorkload(kind="StatefulSet", name=found["name"])
    generated = GENERATED.fullmatch(pod)
    if generated is None or len(pod) >= MAX_GENERATED:
        return None
    return _generated(generated["base"], generated["suffix"])


def _generated(base: str, suffix: str) -> KubernetesWorkload | None:
    if (found := REPLICA_SET.fullmatch(base)) and _is_hash(found["hash"]):
        return KubernetesWorkload(kind="Deployment", name=found["name"])
    if (found := SCHEDULED.fullmatch(base)) and int(found["minute"]) in MINUTES:
        return KubernetesWorkload(kind="CronJob", name=found["name"])
    # A number may be the index of an Indexed Job; letters alone a word such as https, digits alone a number.
    if ENDS_WITH_NUMBER.fullmatch(base) or LETTERS_OR_DIGITS.fullmatch(suffix):
        return None
    return KubernetesWorkload(name=base)


def _is_hash(text: str) -> bool:
    """Say whether it is a 32-bit number in the alphabet of hashes, and no number that somebody has chosen."""
    number = text.translate(DIGITS)
    return re.fullmatch("[0-9]+", text) is None and number[0] != "0" and int(number) < 1 << 32
