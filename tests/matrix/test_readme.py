"""The README's table of MPIs and ways of use: each of its lines, run as it stands there."""

import re
import sys
from collections import Counter

import pytest

from tests.jobs.conftest import MARKER, ROOT
from tests.matrix.conftest import Hosts
from tests.matrix.test_matrix import INTERFACES
from tests.support.mpis import Mpi, mpis


def lines() -> list[tuple[str, str]]:
    """The table's (MPI, line) pairs."""
    table = (ROOT / "README.md").read_text().partition("| MPI, tested with | line |")[2].partition("\n\n")[0]
    found = []
    name = ""
    for row in table.splitlines()[2:]:
        cells = re.fullmatch(r"\| ([^|]*?) ?\| `(.*)` \|", row)
        assert cells is not None, row
        name = cells.group(1) or name
        found.append((name, cells.group(2)))
    return found


def installed(name: str) -> Mpi | None:
    """The MPI of that name and version, or one of the same family."""
    family = name.rpartition(" ")[0]
    if family == "Open MPI":
        family += " " + name.rpartition(" ")[2].partition(".")[0]
    return next((mpi for mpi in mpis() if mpi.name == family), None)


def test_the_table_has_each_mpi_three_ways() -> None:
    """A row that is not recognised would not be run."""
    ways = Counter(name for name, _ in lines())
    assert ways == {"Open MPI 4.1.8": 3, "Open MPI 5.0.11": 4, "MPICH 5.0.2": 3, "Intel MPI 2021.18": 3}


@pytest.mark.parametrize(("name", "line"), lines())
def test_each_line_of_the_table_runs_as_it_stands(hosts: Hosts, name: str, line: str) -> None:
    """Only the master's address and the program are the test's."""
    mpi = installed(name)
    if mpi is None:
        pytest.skip(f"no {name} on this machine (bin/test brings it)")
    program = hosts.folder / "a.out"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/roujiamo/examples/hello.py "$@"\n')
    program.chmod(0o755)
    variables = {"ROUJIAMO_PREFIX": mpi.prefix, "ROUJIAMO_ENV": f"{MARKER}={hosts.mark}"}
    if hosts.inside and line.startswith("ROUJIAMO_MASTER="):
        variables.update(INTERFACES[mpi.name])
    command = line.replace("mesos-master:5050", hosts.master).replace(
        "roujiamo alloc", f"{sys.executable} -m roujiamo alloc"
    )
    try:
        result = hosts.run("sh", "-c", command, mpi=mpi, **variables)
    finally:
        program.unlink()
    assert result.status == 0, result.err
    ranks = re.findall(
        r"^rank \d of 4 on (\S+), in Mesos task \S+; all ranks add up to 6$", result.out, re.MULTILINE
    )
    assert sorted(Counter(ranks).values()) == [2, 2], f"{result.out}\n{result.err}"
