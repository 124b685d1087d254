"""What `roujiamo run` makes of a failed mpiexec: where it looks, the rest is tests/jobs/test_failed_launches.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from roujiamo import dialects
from roujiamo.run.explaining import explained, programs_folder
from roujiamo.run.launcher import Launcher


@pytest.mark.parametrize("dialect", dialects.KNOWN, ids=lambda dialect: dialect.name)
def test_daemons_are_looked_for_where_the_launcher_calls_them(dialect: dialects.Dialect) -> None:
    """Open MPI's below --prefix; Hydra's beside its mpiexec, whatever --prefix says."""
    launcher = Launcher("/opt/mpi/bin/mpiexec", dialect, "1.0")
    has_prefix = dialect.name.startswith("Open MPI")
    assert programs_folder(launcher, None) == "/opt/mpi/bin"
    assert programs_folder(launcher, "/there") == ("/there/bin" if has_prefix else "/opt/mpi/bin")


def test_what_a_host_said_counts_for_more_than_a_daemon_that_was_killed() -> None:
    """mpiexec may kill the well ones when one cannot be started; nobody's memory is used up then."""
    command = "/opt/mpi/bin/hydra_pmi_proxy --control-port m1:1"
    killed: dict[str, Any] = {"host": "agent1", "status": 137, "command": command, "stderr": ""}
    missing = {**killed, "host": "agent2", "status": 127, "stderr": "sh: hydra_pmi_proxy: not found\n"}

    def told(*events: dict[str, Any], found: tuple[str, ...] = ()) -> str:
        return "\n".join(explained(cast("Any", SimpleNamespace(failed_commands=events)), found))

    both = told(killed, missing, found=("a look",))
    assert both.startswith("agent2 said: sh: hydra_pmi_proxy: not found\nagent2: ")
    assert "agent1" not in both
    assert "something killed hydra_pmi_proxy there" in told(killed)
    assert told(killed, found=("a look",)) == "a look"
