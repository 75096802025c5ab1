# SPDX-License-Identifier: Apache-2.0
"""The image and the manifests of deploy/: valid, with the least rights, and as docs/kubernetes.md describes them."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.oci import container_of, dockerfile, manifest

from ooMtrace import __version__, cli

ROOT = Path(__file__).parents[2]
BASE, COMPONENTS = ROOT / "deploy/kubernetes/base", ROOT / "deploy/kubernetes/components"
PAGE = (ROOT / "docs/kubernetes.md").read_text()
NAMES = sorted(folder.name for folder in COMPONENTS.iterdir())
KUBERNETES = "1.37"
POWERFUL = {"SYS_ADMIN", "SYS_PTRACE", "SYS_RESOURCE", "DAC_OVERRIDE", "NET_ADMIN"}


def kustomization(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "kustomization.yaml").read_text()))


def capabilities(*components: str) -> list[str]:
    return list(container_of(manifest(*components))["securityContext"]["capabilities"]["add"])


@pytest.mark.parametrize("resource", kustomization(BASE)["resources"])
def test_every_resource_is_valid_and_has_no_unknown_field(resource):
    kubernetes_validate.validate(yaml.safe_load((BASE / resource).read_text()), KUBERNETES, strict=True)


def test_an_unknown_field_would_be_noticed():
    daemonset = manifest()
    daemonset["spec"]["template"]["spec"]["hostPid"] = True

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemonset, KUBERNETES, strict=True)


@pytest.mark.parametrize("components", [*combinations(NAMES, 1), *combinations(NAMES, 2)])
def test_the_daemonset_is_valid_with_components(components):
    kubernetes_validate.validate(manifest(*components), KUBERNETES, strict=True)

    assert bool(POWERFUL & set(capabilities(*components))) == (components != ("events",))


def test_the_component_for_events_gives_the_right_to_create_them_and_no_other():
    found = {each["kind"]: each for each in yaml.safe_load_all((COMPONENTS / "events/rbac.yaml").read_text())}
    for each in found.values():
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    daemonset = manifest("events")
    pod = daemonset["spec"]["template"]["spec"]

    assert kustomization(COMPONENTS / "events")["resources"] == ["rbac.yaml"]
    assert found["ClusterRole"]["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]
    assert found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"]
    account = found["ServiceAccount"]["metadata"]
    assert found["ClusterRoleBinding"]["subjects"] == [{"kind": "ServiceAccount", **account}]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (account["name"], True)
    assert account["namespace"] == kustomization(BASE)["namespace"]
    assert not manifest()["spec"]["template"]["spec"]["automountServiceAccountToken"]
    _, arguments = cli.parse(container_of(daemonset)["args"])
    assert [each.scheme for each in arguments.output] == ["stdout", "kubernetes"]
    assert capabilities("events") == capabilities()


def test_the_base_lists_all_its_files_and_the_tag_of_this_version():
    found = kustomization(BASE)

    assert {path.name for path in BASE.glob("*.yaml")} == {*found["resources"], "kustomization.yaml"}
    assert found["images"] == [{"name": container_of(manifest())["image"], "newTag": __version__}]
    assert f"oomtrace:{__version__}" in (ROOT / "deploy/container/Dockerfile").read_text()
    assert f"oomtrace:{__version__}" in PAGE


def test_the_container_has_the_least_rights():
    security = container_of(manifest())["securityContext"]

    assert security["capabilities"]["drop"] == ["ALL"]
    assert not POWERFUL & set(security["capabilities"]["add"])
    assert not security["privileged"]
    assert not security["allowPrivilegeEscalation"]
    assert security["readOnlyRootFilesystem"]


def test_it_runs_on_every_node_sees_the_pids_of_the_host_and_survives():
    pod = manifest()["spec"]["template"]["spec"]

    assert (pod["hostPID"], pod["priorityClassName"]) == (True, "system-node-critical")
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert container_of(manifest())["env"] == [
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    ]


def test_all_that_is_the_nodes_is_mounted_read_only_except_the_state():
    pod, container = manifest()["spec"]["template"]["spec"], container_of(manifest())
    of_node = {volume["name"] for volume in pod["volumes"] if "hostPath" in volume}

    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable & of_node == {"state"}


def test_its_options_are_options_of_oomtrace():
    command, arguments = cli.parse(container_of(manifest())["args"])

    assert command == "trace"
    assert (arguments.network, str(arguments.state)) == (False, "/var/lib/oomtrace")


def test_the_probes_look_for_the_ready_file():
    container = container_of(manifest())
    (ready,) = [word.partition("=")[2] for word in container["args"] if word.startswith("--ready-file=")]

    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert ready in " ".join(container[name]["exec"]["command"])


def test_the_page_describes_each_capability_and_mount_of_the_base():
    rows = " ".join(re.findall(r"^\| (.*?) \|", PAGE, re.MULTILINE))
    mounts = {mount["mountPath"] for mount in container_of(manifest())["volumeMounts"]}

    assert set(re.findall(r"`([A-Z_]+)`", rows)) == set(capabilities())
    assert set(re.findall(r"`(/[^`]+)`", rows)) == mounts


def test_the_page_grants_a_docker_container_the_same():
    (command,) = re.findall(r"^docker run.*?(?=```)", PAGE, re.MULTILINE | re.DOTALL)

    assert re.findall(r"--cap-add=(\w+)", command) == capabilities()
    assert "--cap-drop=ALL" in command


def test_the_page_names_every_component():
    assert re.findall(r"^ +- \.\./components/(\S+)", PAGE, re.MULTILINE) == NAMES


def test_the_image_has_all_of_the_package_and_nothing_by_pip():
    image = dockerfile()

    packages = "/usr/lib/python3/dist-packages/ooMtrace"
    assert image.copies == (("ooMtrace", packages), ("bpf", f"{packages}/bpf"))
    assert {"python3-bpfcc", "python3-orjson", "python3-pyroute2"} <= set(image.packages)
    assert image.entrypoint[-2:] == ("-m", "ooMtrace")
