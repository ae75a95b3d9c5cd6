"""The files to deploy Grove with: as far as they can be judged without what they are for."""

from __future__ import annotations

import ast
import functools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import hcl2
import pytest
import yaml
from botocore import xform_name
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / ".deploy"

pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="only in a checkout")


# --- systemd ---


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_the_service_is_exposed_to_little() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager"]
    done = subprocess.run([*command, DEPLOY / "groved.service"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"Overall exposure level for groved.service: ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) <= 2.0


def test_the_service_starts_the_daemon_as_somebody_without_rights() -> None:
    lines = (DEPLOY / "groved.service").read_text().splitlines()
    for line in ("ExecStart=/opt/grove/bin/groved", "User=grove", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert line in lines
    assert {"UMask=0077", "LimitCORE=0", "MemoryDenyWriteExecute=yes", "CapabilityBoundingSet="} <= set(lines)


# --- containers ---


def test_the_image_is_built_in_two_stages_from_locked_packages() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert text.count("FROM ${BASE}") == 2
    final = text.rpartition("FROM ${BASE}")[2]
    assert "--require-hashes" in text
    assert "USER 65532:65532" in final
    assert "RUN pip" not in final and "apt-get" not in final
    for path in re.findall(r"^COPY (?!--from)(.+) /\S+$", text, re.MULTILINE):
        for name in path.split():
            assert (ROOT / name).exists(), name
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert kept[0] == "*"
    copied = {name for path in re.findall(r"^COPY (?!--from)(.+) /\S+$", text, re.MULTILINE) for name in path.split()}
    assert {name[1:] for name in kept if name.startswith("!")} == copied


def test_the_cluster_example_is_one_that_a_restricted_namespace_takes() -> None:
    documents = {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}
    assert set(documents) == {"ConfigMap", "PersistentVolumeClaim", "Deployment", "NetworkPolicy"}
    spec = documents["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels == documents["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["documents"]["configMap"]["name"] == documents["ConfigMap"]["metadata"]["name"]
    assert (
        volumes["state"]["persistentVolumeClaim"]["claimName"]
        == (documents["PersistentVolumeClaim"]["metadata"]["name"])
    )
    for name, text in documents["ConfigMap"]["data"].items():
        assert name.endswith(".json") and json.loads(text)["connector"]


def test_the_nomad_example_runs_with_as_little() -> None:
    with (DEPLOY / "grove.nomad.hcl").open() as file:
        job = _plain(hcl2.load(file))["job"][0]["grove"]
    group = job["group"][0]["grove"]
    task = group["task"][0]["groved"]
    config = task["config"][0]
    assert (task["driver"], task["user"]) == ("docker", "65532:65532")
    assert config["readonly_rootfs"] is True
    assert (config["cap_drop"], config["security_opt"]) == (["all"], ["no-new-privileges"])
    assert task["volume_mount"][0]["volume"] in group["volume"][0]
    assert "local_heartbeat" in task["template"][0]["data"]


def _plain(value: Any) -> Any:
    """What hcl2 has read, without the quotes that it leaves around names and texts."""
    if isinstance(value, dict):
        return {str(name).strip('"'): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value[1:-1] if isinstance(value, str) and value[:1] == value[-1:] == '"' else value


@pytest.mark.parametrize("name", ["Dockerfile", "groved.service", "kubernetes.yaml", "grove.nomad.hcl"])
def test_every_setting_in_an_example_is_one(name: str) -> None:
    text = "\n".join(path.read_text() for path in (ROOT / "grove").rglob("*.py"))
    for setting in re.findall(r"\bGROVE_[A-Z_]+[A-Z]", (DEPLOY / name).read_text()):
        prefix = next(
            (each for each in re.findall(r'"(GROVE_[A-Z0-9_]+_)"', text) if setting.startswith(each)), setting
        )
        assert f'"{setting}"' in text or f"{setting.removeprefix(prefix).lower()}:" in text, setting


# --- rights in AWS ---

# What each request needs. https://docs.aws.amazon.com/service-authorization/latest/reference/
NEEDS: dict[str, dict[str, set[str]]] = {
    "s3": {
        # Asked to find mistakes early; who may not ask is told nothing, and goes on.
        "head_bucket": set(),
        "create_multipart_upload": {"s3:PutObject"},
        "upload_part": {"s3:PutObject"},
        "complete_multipart_upload": {"s3:PutObject"},
        "put_object": {"s3:PutObject"},
        "abort_multipart_upload": {"s3:AbortMultipartUpload"},
        "list_parts": {"s3:ListMultipartUploadParts"},
        "head_object": {"s3:GetObject"},
        "get_object": {"s3:GetObject"},
        "list_objects_v2": {"s3:ListBucket"},
        "list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    },
    "dynamodb": {
        "get_item": {"dynamodb:GetItem"},
        "put_item": {"dynamodb:PutItem"},
        "update_item": {"dynamodb:UpdateItem"},
        "delete_item": {"dynamodb:DeleteItem"},
        "scan": {"dynamodb:Scan"},
        "transact_get_items": {"dynamodb:GetItem"},
        # The rights of the changes within, each of which is named in the code.
        "transact_write_items": set(),
        "ConditionCheck": {"dynamodb:ConditionCheckItem"},
        "Delete": {"dynamodb:DeleteItem"},
        "Put": {"dynamodb:PutItem"},
        "Update": {"dynamodb:UpdateItem"},
    },
    "ssm": {
        "get_parameter": {"ssm:GetParameter"},
        "get_parameters_by_path": {"ssm:GetParametersByPath"},
    },
}

COLLECTS = {
    "s3": ["grove/outputs/aws_s3.py"],
    "dynamodb": [
        "grove/caches/aws_dynamodb.py",
        *(f"grove/caches/_dynamodb_{n}.py" for n in ("items", "large", "table")),
    ],
    "ssm": ["grove/helpers/parameter_store.py"],
}
VERIFIES = {"s3": ["grove/verify/archive.py"]}


@functools.cache
def operations(service: str) -> set[str]:
    """Every request that boto3 knows of a service, as its methods are called."""
    session = botocore.session.get_session()
    return {xform_name(name) for name in session.get_service_model(service).operation_names}


def requests(service: str, modules: list[str]) -> set[str]:
    """The requests that are named in `modules`."""
    texts = {
        node.value
        for module in modules
        for node in ast.walk(ast.parse((ROOT / module).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return texts & (operations(service) | NEEDS[service].keys())


@pytest.mark.parametrize(("policy", "code"), [("collect", COLLECTS), ("verify", VERIFIES)])
def test_a_policy_allows_what_the_code_does_and_no_more(policy: str, code: dict[str, list[str]]) -> None:
    needed = set()
    for service, modules in code.items():
        found = requests(service, modules)
        assert found, service
        for operation in found:
            needed |= NEEDS[service][operation]
    statements = json.loads((DEPLOY / f"iam-{policy}.json").read_text())["Statement"]
    assert {action for one in statements for action in one["Action"]} == needed
    for one in statements:
        assert one["Effect"] == "Allow"
        assert one["Resource"] != "*"
        assert not any("*" in action for action in one["Action"])


# --- what is installed and released ---


def test_every_package_is_locked_with_hashes() -> None:
    text = (DEPLOY / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    locked = {}
    for entry in filter(str.strip, entries):
        first, *hashes = entry.replace("\\\n", "\n").split("\n")
        requirement = Requirement(first)
        locked[requirement.name] = requirement.specifier
        assert len([line for line in hashes if re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}\s*", line)]) >= 1, first
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    for name, packages in extras.items():
        if name not in ("test", "bench", "compare", "dev"):
            wanted += packages
    for text in wanted:
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-").replace(".", "-")
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        assert name in locked, name
        (version,) = [one.version for one in locked[name]]
        assert requirement.specifier.contains(version), text


def test_actions_are_pinned_by_commit_and_have_few_rights() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {}
        for name, job in workflow["jobs"].items():
            assert set(job["permissions"]) <= {"contents", "id-token"}, name
            assert job["permissions"].get("contents", "read") == "read"
            assert job["timeout-minutes"] <= 60
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        assert all(
            re.search(r"@[0-9a-f]{40} # v[\d.]+$", line) for line in path.read_text().splitlines() if "uses:" in line
        )


def test_the_workflow_builds_what_the_package_supports() -> None:
    text = (ROOT / ".github" / "workflows" / "wheels.yml").read_text()
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    supported = {line.rpartition(" ")[2] for line in classifiers if re.search(r":: 3\.\d+$", line)}
    assert {f"3.{minor}" for minor in re.findall(r"cp3(\d+)-\*", text)} == supported
    assert sys.version_info[:2] >= (3, 11)
