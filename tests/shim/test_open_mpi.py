"""The real launchers with the real shim: what they pass, how they end, what they leave.

The session is the tests' own server, so all "hosts" are this one: what is shown here is the agent, not the cluster.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.shim.session import RSH, environment_of
from tests.support import OpenMpi, children_of, mpi_environment, open_mpis, running, until

pytestmark = pytest.mark.skipif(
    not open_mpis(), reason="no Open MPI on this machine (ROUJIAMO_TEST_OPENMPI names one)"
)


def mpiexec(mpi: OpenMpi, *words: str) -> list[str]:
    """Return an mpiexec line with the shim as agent and two hosts that no name server knows."""
    return [mpi.mpiexec, "--mca", "plm_rsh_agent", RSH, "-H", "198.51.100.1:1,198.51.100.2:1", *words]


@pytest.fixture(params=open_mpis(), ids=lambda mpi: mpi.version)
def mpi(request: pytest.FixtureRequest) -> OpenMpi:
    """Each Open MPI of this machine."""
    found: OpenMpi = request.param
    return found


def test_a_job_runs_and_its_status_comes_back(server: str, mpi: OpenMpi) -> None:
    """Quoted arguments, shell text, /dev/null as stdin, output through the daemons: all as mpiexec wants it."""
    environment = {**environment_of(server), **mpi_environment()}
    done = subprocess.run(
        mpiexec(mpi, "-n", "2", "sh", "-c", "echo rank; exit 0"),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == (b"rank\nrank\n", 0), done.stderr.decode()
    assert b"roujiamo-rsh" not in done.stderr


def test_a_refused_host_fails_the_job_with_our_sentence(server: str, mpi: OpenMpi) -> None:
    """mpiexec shows its agents' stderr: there the user finds the reason."""
    argv = [mpi.mpiexec, "--mca", "plm_rsh_agent", RSH, "-H", "refused:1,198.51.100.2:1", "-n", "2", "true"]
    done = subprocess.run(
        argv,
        env={**environment_of(server), **mpi_environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert b"roujiamo-rsh: refused: there is no such host" in done.stderr


def test_a_killed_mpiexec_leaves_no_agent_and_no_daemon(server: str, mpi: OpenMpi, tmp_path: Path) -> None:
    """It cannot clean up after itself any more."""
    job = mpiexec(mpi, "-n", "2", "sh", "-c", f"echo x >>{tmp_path}/ranks; exec sleep 1000")
    # mpiexec's own session folder is left where it is killed; not in the system's temporary folder.
    environment = {**environment_of(server), **mpi_environment(), "TMPDIR": str(tmp_path)}
    with running(job, environment=environment) as launcher:
        ranks = tmp_path / "ranks"
        until(lambda: ranks.exists() and ranks.stat().st_size == 4, 30, what="both ranks")
        family = children_of(launcher.pid)
        assert family
        launcher.process.kill()
        launcher.wait()
    # The test bench fails this test if a shim, a daemon or a rank is left.
