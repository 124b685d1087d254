"""What `roujiamo run` makes of a failed mpiexec: where it looks, the rest is tests/jobs/test_failed_launches.py."""

from __future__ import annotations

import pytest

from roujiamo import dialects
from roujiamo.run.explaining import programs_folder
from roujiamo.run.launcher import Launcher


@pytest.mark.parametrize("dialect", dialects.KNOWN, ids=lambda dialect: dialect.name)
def test_daemons_are_looked_for_where_the_launcher_calls_them(dialect: dialects.Dialect) -> None:
    """Open MPI's below --prefix; Hydra's beside its mpiexec, whatever --prefix says."""
    launcher = Launcher("/opt/mpi/bin/mpiexec", dialect, "1.0")
    has_prefix = dialect.name.startswith("Open MPI")
    assert programs_folder(launcher, None) == "/opt/mpi/bin"
    assert programs_folder(launcher, "/there") == ("/there/bin" if has_prefix else "/opt/mpi/bin")
