# SPDX-License-Identifier: Apache-2.0
"""Rules for jobs of continuous integration, by the environment that their runner sets. Data only."""

from __future__ import annotations

from ooMtrace.enrich.jobs.rule import Rule

CI_ENVIRONMENTS = (
    Rule(
        system="gitlab_runner",
        where=(("environment.CI_JOB_ID", r"\A(?P<id>[0-9]+)\Z"),),
        also=(("environment.CI_JOB_NAME", r"\A(?P<name>.+)"),),
        join=("{id}",),
        registry="GitLab's REST API, /projects/<project>/jobs/<id>",
    ),
    # core/src/main/java/hudson/model/AbstractBuild.java, CoreEnvironmentContributor.java
    Rule(
        system="jenkins",
        where=(("environment.BUILD_TAG", r"\A(?P<id>.+)"),),
        also=(("environment.JOB_NAME", r"\A(?P<name>.+)"),),
        join=("{id}",),
        registry="Jenkins: jenkins-<job>-<number of the build>",
    ),
)
