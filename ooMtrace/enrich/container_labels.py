# SPDX-License-Identifier: Apache-2.0
"""The labels of a container that a line may have: which they are, and their redaction. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ooMtrace.enrich.redact_text import redact_variable

LABELS = (
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.stack.namespace",
    "com.docker.swarm.service.name",
    "com.docker.swarm.task.name",
    "com.gitlab.gitlab-runner.job.id",
    "com.gitlab.gitlab-runner.pipeline.id",
    "com.gitlab.gitlab-runner.project.id",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "org.opencontainers.image.version",
)
"""Labels that say what the container is for. Others may hold anything, also secrets."""

MAX_VALUE = 255
"""Characters of a value; a longer one is left out."""


def select_labels(*sources: Any) -> tuple[dict[str, str] | None, bool]:  # noqa: ANN401 (any JSON)
    """Return the labels of LABELS, without secrets, and whether a secret was replaced; None if there are none.

    Args:
        sources: What a runtime's file has as labels or annotations; of several the first that has a label counts.
    """
    found: dict[str, str] = {}
    for name in LABELS:
        values = (source.get(name) for source in sources if isinstance(source, Mapping))
        value = next((value for value in values if value is not None), None)
        if isinstance(value, str) and 0 < len(value) <= MAX_VALUE and value.isprintable():
            found[name] = value
    redacted = {name: redact_variable(name, value) for name, value in found.items()}
    return redacted or None, redacted != found
