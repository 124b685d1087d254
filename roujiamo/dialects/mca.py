"""MCA parameters of Open MPI and PRRTE: where a user may have set them, and which of ours must then stay unsaid. Pure.

Sources, the strongest first: mpiexec's command line, the environment, parameter files (Open MPI FAQ, "General run-time
tuning").
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

OPTIONS = ("-mca", "--mca", "--prtemca", "-prtemca", "--pmixmca", "-gmca", "--gmca")
PREFIXES = ("OMPI_MCA_", "PRTE_MCA_")
# Below the user's home, and below the MPI's own folder.
USER_FILES = (".openmpi/mca-params.conf", ".prte/mca-params.conf")
INSTALLED_FILES = ("etc/openmpi-mca-params.conf", "etc/prte-mca-params.conf")

# Other names of the same parameter (`prte_info --all`, `ompi_info --all --level 9`).
_SYNONYMS = {"prte_if_include": ("oob_tcp_if_include",), "oob_tcp_if_include": ("oob_tcp_include",)}


def parameters(words: Sequence[str], variables: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Return the MCA parameters that the words of a command line set, else the variables with that prefix."""
    values = {
        name.removeprefix(prefix): value for name, value in variables.items() if name.startswith(prefix)
    }
    for option, name, value in zip(words, words[1:], words[2:], strict=False):
        if option in OPTIONS:
            values[name] = value
    return values


def names_in_file(text: str) -> set[str]:
    """Return the names of the parameters that a parameter file sets."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    return {name.strip() for name, has_value, _ in (line.partition("=") for line in lines) if has_value}


def is_contested(variable: str, said: Container[str]) -> bool:
    """Tell whether a variable of ours names interfaces, and the user's parameters `said` leave some out.

    Open MPI refuses to have both, and its ranks then wait for ever.
    """
    for prefix in PREFIXES:
        name = variable.removeprefix(prefix)
        if name != variable and name.endswith("_include"):
            same = (name, *_SYNONYMS.get(name, ()))
            rivals = {*same[1:], *(each.replace("_include", "_exclude") for each in same)}
            return any(rival in said for rival in rivals)
    return False
