# SPDX-License-Identifier: Apache-2.0
"""Who would be killed next: the kernel's badness of each process, on the host and in each limited memory cgroup."""
