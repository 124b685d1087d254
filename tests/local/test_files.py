"""The agents' endpoints: sandboxes can be browsed, read and downloaded as from a Mesos agent, and nothing else can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.local.conftest import Cluster
from tests.mesos.master.test_views import SHAPES, shape, without
from tests.support.scheduler import Scheduler, get, subscribed, task

COMMAND = (
    "printf 'héllo\\nline 0\\n'; printf err >&2; mkdir sub; echo deep > sub/file; ln -s /etc/passwd out; "
    "ln -s sub/file in; mkfifo pipe; head -c 300000 /dev/zero > big"
)
TEXT = "héllo\nline 0\n"


@dataclass
class Sandbox:
    """A sandbox of a task that is over."""

    agent: str
    directory: str
    framework_id: str
    scheduler: Scheduler

    def read(self, query: str, name: str = "/stdout") -> object:
        return get(self.agent, f"/files/read?path={self.directory}{name}&{query}")


@pytest.fixture(scope="module")
def sandbox(shared: Cluster) -> Iterator[Sandbox]:
    with subscribed(shared.address, failover_timeout=60) as scheduler:
        scheduler.launch("f", COMMAND)
        status = scheduler.update("f")
        (slave,) = get(shared.address, f"/slaves?slave_id={status['agent_id']['value']}")[1]["slaves"]
        agent = slave["pid"].partition("@")[2]
        state = get(agent, "/slave(1)/state")[1]
        frameworks = state["frameworks"] + state["completed_frameworks"]
        (framework,) = [one for one in frameworks if one["id"] == scheduler.id["value"]]
        (executor,) = framework["completed_executors"]
        yield Sandbox(agent, executor["directory"], framework["id"], scheduler)


def test_a_file_is_read_by_offset_and_length(sandbox: Sandbox) -> None:
    """Offsets count bytes; -1 and none ask for the size; what is too long or negative is bounded, as recorded."""
    size = len(TEXT.encode())
    assert sandbox.read("offset=0&length=30") == (200, {"data": TEXT, "offset": 0})
    assert sandbox.read("offset=-1") == (200, {"data": "", "offset": size})
    assert sandbox.read("") == (200, {"data": "", "offset": size})
    assert sandbox.read("offset=100000&length=10") == (200, {"data": "", "offset": 100_000})
    assert sandbox.read("offset=7&length=3") == (200, {"data": "lin", "offset": 7})
    assert sandbox.read("offset=0&length=1000000000") == (200, {"data": TEXT, "offset": 0})
    assert sandbox.read("offset=0&length=-1") == (200, {"data": TEXT, "offset": 0})
    assert sandbox.read("offset=0", "/stderr") == (200, {"data": "err", "offset": 0})
    status, answer = get(sandbox.agent, f"/files/read?path={sandbox.directory}/big&offset=0")
    assert (status, len(answer["data"])) == (200, 65_536)


def test_wrong_questions_get_the_recorded_answers(sandbox: Sandbox) -> None:
    convert = b"Failed to parse offset: Failed to convert 'x' to number.\n"
    assert sandbox.read("offset=x") == (400, convert)
    assert sandbox.read("offset=0", "/nosuch") == (404, b"")
    assert sandbox.read("offset=0", "") == (400, b"Cannot read a directory.\n")
    assert get(sandbox.agent, "/files/read") == (400, b"Expecting 'path=value' in query.\n")
    assert get(sandbox.agent, "/files/browse") == (400, b"Expecting 'path=value' in query.\n")
    download = f"/files/download?path={sandbox.directory}"
    assert get(sandbox.agent, download) == (400, b"Cannot download a directory.\n")
    assert get(sandbox.agent, download + "/nosuch") == (404, b"404 Not Found.")
    assert get(sandbox.agent, "/files/read.json?path=x") == (404, b"404 Not Found.")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{}/../../../../../../../../../../../../etc/passwd",
        "{}/out",
        "{}/../latest/../..",
        "{}/pipe",
        "{}/%00",
    ],
)
def test_nothing_outside_a_sandbox_is_shown(sandbox: Sandbox, path: str) -> None:
    """Neither by `..` nor by a symbolic link; and a named pipe does not stop the agent."""
    target = path.format(sandbox.directory)
    assert get(sandbox.agent, f"/files/read?path={target}&offset=0") == (404, b"")
    assert get(sandbox.agent, f"/files/download?path={target}") == (404, b"404 Not Found.")
    assert get(sandbox.agent, "/health")[0] == 200


def test_a_folder_is_browsed(sandbox: Sandbox) -> None:
    status, entries = get(sandbox.agent, f"/files/browse?path={sandbox.directory}")
    assert status == 200
    names = [entry["path"].rpartition("/")[2] for entry in entries]
    assert names == ["big", "in", "out", "pipe", "stderr", "stdout", "sub"]
    stdout = entries[names.index("stdout")]
    assert stdout["path"] == f"{sandbox.directory}/stdout"
    assert (stdout["mode"], stdout["nlink"], stdout["size"]) == ("-rw-r--r--", 1, len(TEXT.encode()))
    assert set(stdout) == {"gid", "mode", "mtime", "nlink", "path", "size", "uid"}
    assert get(sandbox.agent, f"/files/browse?path={sandbox.directory}/sub")[1][0]["size"] == 5
    assert get(sandbox.agent, f"/files/browse?path={sandbox.directory}/nosuch") == (404, b"")
    assert get(sandbox.agent, "/files/browse?path=/etc") == (404, b"")


def test_virtual_paths_lead_to_the_latest_run(sandbox: Sandbox) -> None:
    virtual = f"/frameworks/{sandbox.framework_id}/executors/f/runs/latest"
    assert get(sandbox.agent, f"/files/read?path={virtual}/stderr&offset=0")[1]["data"] == "err"
    first = get(sandbox.agent, f"/files/browse?path={virtual}")[1][0]
    assert first["path"] == f"{virtual}/big"
    assert get(sandbox.agent, "/files/debug")[1][virtual] == sandbox.directory


def test_a_file_is_downloaded_whole(sandbox: Sandbox) -> None:
    status, content = get(sandbox.agent, f"/files/download?path={sandbox.directory}/big")
    assert (status, content) == (200, bytes(300_000))
    assert get(sandbox.agent, f"/files/download?path={sandbox.directory}/in") == (200, b"deep\n")


def test_an_agent_shows_its_state(sandbox: Sandbox) -> None:
    state = get(sandbox.agent, "/state")[1]
    assert state == get(sandbox.agent, "/slave(1)/state")[1]
    assert state["resources"]["cpus"] == 4.0
    assert state["attributes"] == {"zone": "a", "rack": 7.0}
    assert state["flags"]["switch_user"] == ("true" if os.geteuid() == 0 else "false")
    assert get(sandbox.agent, "/version")[1]["version"] == "1.11.0"
    assert get(sandbox.agent, "/api/v1")[0] == 405
    assert get(sandbox.agent, "/")[0] == 404


def test_an_agents_state_has_the_recorded_shape(shared: Cluster) -> None:
    """With one task running and one that failed, as when it was recorded."""
    with subscribed(shared.address, failover_timeout=60) as scheduler:
        offer = scheduler.offer()
        labels = {"labels": [{"key": "k", "value": "v"}]}
        failing = task("shape-2", "exit 7", offer, labels=labels)
        scheduler.accept(offer, task("shape-1", "sleep 1000", offer), failing)
        scheduler.update("shape-2")
        scheduler.update("shape-1", ("TASK_RUNNING",))
        (slave,) = get(shared.address, f"/slaves?slave_id={offer['agent_id']['value']}")[1]["slaves"]
        state = get(slave["pid"].partition("@")[2], "/state")[1]
        scheduler.call("TEARDOWN")
    state["frameworks"] = [one for one in state["frameworks"] if one["id"] == scheduler.id["value"]]
    # Earlier tests' frameworks, attributes and flags are this cluster's own.
    own = {"completed_frameworks", "attributes", "flags"}
    assert without(shape(state), own) == without(SHAPES["agent /state"], own)
