"""compose.yaml and the Kubernetes manifests, checked by the tools that read them, and for what images need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from reeldex.cli.main import main
from tests.cli.test_flags import NAMES

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
SECRETS = {"POSTGRES_PASSWORD": "pass", "PREFECT_AUTH_STRING": "user:pass"}


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def compose(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return what `docker compose config` makes of the file, with the settings of the example."""
    return subprocess.run(
        [program("docker-compose"), "--env-file", "deploy/example.env", "--profile", "*", "config", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    answer = compose(SECRETS)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)["services"]
    return found


def ours(services: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in services.items() if each["image"].startswith("reeldex")}


def test_passwords_come_from_the_environment_and_without_one_nothing_starts() -> None:
    for missing in SECRETS:
        answer = compose({name: value for name, value in SECRETS.items() if name != missing})
        assert answer.returncode != 0
        assert missing in answer.stderr
        assert "deploy/example.env" in answer.stderr


def test_the_services_are_a_whole_installation(services: dict[str, Any]) -> None:
    assert set(services) == {
        "postgres", "server", "deploy", "volumes", "worker-cpu", "worker-gpu0", "worker-gpu1", "metrics", "page"
    }  # fmt: skip
    for name, each in services.items():
        assert each["restart"] in {"unless-stopped", "no", "on-failure:5"}, name
        for needed, how in each.get("depends_on", {}).items():
            ends = services[needed].get("restart") != "unless-stopped"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), name


def test_services_of_ours_are_locked_down(services: dict[str, Any]) -> None:
    for name, each in ours(services).items():
        assert each["read_only"], name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert each["user"] == ("0:0" if name == "volumes" else "10001:10001"), name
        assert each["tmpfs"] == ["/tmp"], name  # noqa: S108 - in the container
        for port in each.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name


def test_services_say_whether_they_are_healthy(services: dict[str, Any]) -> None:
    assert services["postgres"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    for name, each in ours(services).items():
        checked = "REELDEX_HEALTH_URL" in each.get("environment", {}) and not each.get("healthcheck", {}).get("disable")
        assert checked is (each["restart"] == "unless-stopped"), name


def test_each_gpu_has_a_worker_that_sees_it_alone_and_keeps_state_of_its_own(services: dict[str, Any]) -> None:
    workers = {name: each for name, each in services.items() if name.startswith("worker-")}
    for number in range(2):
        (device,) = workers[f"worker-gpu{number}"]["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == [str(number)]
        assert device["capabilities"] == ["gpu"]
    assert "deploy" not in workers["worker-cpu"]
    for name, each in workers.items():
        assert each["hostname"] == name, "locks of devices and runs of a host go by it"
    homes = [each["environment"]["PREFECT_HOME"] for each in workers.values()]
    assert len(set(homes)) == len(homes)
    assert len({json.dumps(each["volumes"]) for each in workers.values()}) == 1, "the same paths everywhere"


def test_commands_of_services_and_manifests_exist(services: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    of_services = [each["command"] for each in ours(services).values() if each.get("entrypoint") is None]
    commands = [*of_services, *(each["args"] for each in containers())]
    assert len(commands) >= 8
    for command in commands:
        assert command[0] in NAMES
        assert main([command[0], "--help"]) == 0
        shown = capsys.readouterr().out
        for option in (part for part in command if part.startswith("--")):
            assert f"{option} " in shown, (command, option)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_those_of_kubernetes(manifest: Path) -> None:
    answer = subprocess.run(
        [program("kubernetes-validate"), "--strict", str(manifest)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "passed" in answer.stdout + answer.stderr


def test_the_job_of_a_kubernetes_work_pool_is_one_of_kubernetes(tmp_path: Path) -> None:
    """As Prefect's worker fills it: defaults of the pool, then its own labels and variables."""
    from prefect.utilities.templating import apply_values

    pool = json.loads((ROOT / "deploy/prefect/kubernetes-pool.json").read_text(encoding="utf-8"))
    defaults = {name: each["default"] for name, each in pool["variables"]["properties"].items() if "default" in each}
    filled = {"labels": {"a": "b"}, "env": [{"name": "PREFECT__FLOW_RUN_ID", "value": "x"}], "image": "reeldex:cuda"}
    job = apply_values(pool["job_configuration"]["job_manifest"], {**defaults, **filled})
    assert "{{" not in json.dumps(job)
    job["metadata"]["name"] = f"{job['metadata'].pop('generateName')}1"  # as the cluster does
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    answer = subprocess.run(
        [program("kubernetes-validate"), "--strict", str(tmp_path / "job.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def pods() -> list[dict[str, Any]]:
    documents = [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    return [each["spec"]["template"]["spec"] for each in documents if each["kind"] in {"Deployment", "Job"}]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


def test_pods_are_locked_down_and_write_to_volumes() -> None:
    assert len(pods()) == 2
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["automountServiceAccountToken"] is False
        volumes = {each["name"] for each in pod["volumes"]}
        for container in pod["containers"]:
            locked = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["securityContext"] == locked
            assert {each["name"] for each in container["volumeMounts"]} <= volumes
            assert "memory" in container["resources"]["limits"]


def test_workers_and_jobs_ask_for_a_gpu() -> None:
    working = [each for each in containers() if each["name"] in {"worker", "extract"}]
    assert len(working) == 2
    for each in working:
        for kind in ("requests", "limits"):
            assert each["resources"][kind]["nvidia.com/gpu"] == "1"
        mounts = {mount["mountPath"]: mount for mount in each["volumeMounts"]}
        assert set(mounts) >= {"/videos", "/store", "/cache", "/tmp"}  # noqa: S108 - in the container
        assert mounts["/videos"]["readOnly"]


def test_claims_that_pods_use_are_defined() -> None:
    text = (ROOT / "deploy/kubernetes/volumes.yaml").read_text(encoding="utf-8")
    defined = {each["metadata"]["name"] for each in yaml.safe_load_all(text)}
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods()
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert used == defined


def test_a_job_is_not_repeated_for_what_would_be_the_same_again() -> None:
    (job,) = [
        each
        for path in MANIFESTS
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if each["kind"] == "Job"
    ]
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [1, 2]
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never", "which such a policy requires"
