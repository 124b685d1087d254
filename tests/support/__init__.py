"""What the tests share: waiting, starting programs, and finding the tools of this machine.

Imported by the test process only. Nothing in here stands in for a part of the product.
"""

from tests.support.mpis import Mpi, mpis, without_open_mpis_race
from tests.support.programs import (
    Program,
    children_called,
    children_of,
    is_alive,
    processes_with,
    running,
    state_of,
)
from tests.support.tools import (
    MASTERS,
    OpenMpi,
    keep_settings_away,
    mpi_environment,
    on_demand,
    open_mpis,
    python36,
    real_mesos,
    requires_open_mpi,
    requires_python36,
    requires_real_mesos,
)
from tests.support.waiting import come_true, scaled, until

__all__ = [
    "MASTERS",
    "Mpi",
    "OpenMpi",
    "Program",
    "children_called",
    "children_of",
    "come_true",
    "is_alive",
    "keep_settings_away",
    "mpi_environment",
    "mpis",
    "on_demand",
    "open_mpis",
    "processes_with",
    "python36",
    "real_mesos",
    "requires_open_mpi",
    "requires_python36",
    "requires_real_mesos",
    "running",
    "scaled",
    "state_of",
    "until",
    "without_open_mpis_race",
]
