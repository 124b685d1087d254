"""docker/ as far as it can be checked without an engine: lint, the compose file's grammar, pins, and copied paths."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.session.options import OPTIONS, from_environment

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


def tool(name: str) -> str:
    """The path of a tool beside this interpreter or on PATH; skips where there is none."""
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here (the dependency group `test` brings it)")
    return path


def packages(path: Path) -> dict[str, str]:
    """The Debian packages that a Dockerfile installs, and their versions."""
    return dict(re.findall(r"^ +([a-z0-9.+-]+)=(\S+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    """Unpinned packages, shell mistakes and whatever else it knows; an ignore stands in the file with its line."""
    done = subprocess.run([tool("hadolint"), path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there(path: Path) -> None:
    """A COPY of a path that has moved fails only when somebody builds."""
    copies = re.findall(r"^COPY (?!--from)(.*) \S+$", path.read_text(), re.MULTILINE)
    for source in " ".join(copies).split():
        assert (ROOT / source).exists(), source


def test_both_sides_have_the_same_mpi() -> None:
    """mpiexec and its daemons must be of one version."""
    submit, task = (packages(DOCKER / f"{name}.Dockerfile") for name in ("submit", "task"))
    assert submit["openmpi-bin"] == task["openmpi-bin"]
    assert submit["python3"] == task["python3"]


def test_every_base_image_has_a_version() -> None:
    """`latest` is another image every week."""
    texts = [path.read_text() for path in [*DOCKERFILES, DOCKER / "compose.yaml"]]
    images = [
        image
        for text in texts
        for image in re.findall(
            r"^(?:FROM| *image:|ARG MESOS_IMAGE=) *(\S+?)(?: AS \S+)?$", text, re.MULTILINE
        )
    ]
    assert len(images) > 6
    for image in images:
        assert re.search(r":\d[^/]*$|^\$\{MESOS_IMAGE(:-mesos/mesos-centos:1\.11\.x)?\}$", image), image


def test_the_compose_file_is_one() -> None:
    """Read by a parser of the Compose specification; the two agents share no port, name or folder."""
    compose = pytest.importorskip("compose_spec", reason="no compose-spec here (the dependency group `test`)")
    yaml = pytest.importorskip("yaml", reason="no PyYAML here (the dependency group `test`)")
    # As compose does where the variable is not set.
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DOCKER / "compose.yaml").read_text())
    options = compose.PyOptions()
    options.apply_merge = True
    options.from_yaml(text).validate()
    content = yaml.safe_load(text)
    services = content["services"]
    assert set(services) == {"zookeeper", "master", "agent1", "agent2", "task", "submit"}
    one, two = (services[name]["environment"] for name in ("agent1", "agent2"))
    for name in ("MESOS_PORT", "MESOS_HOSTNAME", "MESOS_WORK_DIR"):
        assert one[name] != two[name]
    for agent in (services["agent1"], services["agent2"]):
        folder = agent["environment"]["MESOS_WORK_DIR"]
        assert f"{folder}:{folder}" in agent["volumes"]
    for service in services.values():
        if "build" in service:
            context = DOCKER / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
    job = services["submit"]["environment"]
    assert set(job) <= {option.variable for option in OPTIONS}
    assert from_environment(job)["image"] == services["task"]["image"]
