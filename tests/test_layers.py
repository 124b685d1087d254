"""The architecture as a test: who may import what, read from the source.

Layers are those of the design: 0 errors and version, 1 pure code, 2 contact with the operating system, 3 programs,
4 the command line. A module imports from its own layer or a lower one, and one program never imports another.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import python36, requires_python36

PACKAGE = Path(__file__).resolve().parents[1] / "roujiamo"

# The longest prefix of a module's name decides.
LAYERS = {
    "roujiamo": 0,
    "roujiamo.docs": 0,
    "roujiamo.errors": 0,
    "roujiamo.protocol": 1,
    "roujiamo.mesos": 1,
    "roujiamo.dialects": 1,
    "roujiamo.session": 1,
    "roujiamo.system": 2,
    "roujiamo.pymesos_driver": 2,
    # What a broker needs to know of the proxy it starts: the task's command text, and the parcel that follows it.
    "roujiamo.proxy.bootstrap": 2,
    "roujiamo.proxy.first_contact_short": 2,
    "roujiamo.proxy.carried": 2,
    "roujiamo.proxy.welcome": 2,
    # What would be asked of Mesos: the broker asks it, a dry run shows it.
    "roujiamo.broker.allocation": 2,
    "roujiamo.broker.wanted": 2,
    "roujiamo.shim": 3,
    "roujiamo.proxy": 3,
    "roujiamo.broker": 3,
    "roujiamo.driver": 3,
    "roujiamo.run": 3,
    "roujiamo.local": 3,
    "roujiamo.status": 3,
    "roujiamo.starter": 3,
    "roujiamo.cli": 4,
    "roujiamo.__main__": 4,
    "roujiamo.examples": 4,
}
PROGRAMS = {name for name, layer in LAYERS.items() if layer == 3}

# Time and randomness are arguments of pure code, and it does no input or output of its own.
IMPURE = {
    "_random", "_socket", "_thread", "asyncio", "concurrent", "ctypes", "fcntl", "http", "io",
    "kazoo", "logging", "mmap", "multiprocessing", "os", "pathlib", "posix", "psutil", "pymesos",
    "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "ssl",
    "subprocess", "syslog", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
# datetime is no clock as long as nobody asks it for the time.
IMPURE_METHODS = {"now", "today", "utcnow"}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint"}

# What runs on the agents, on a bare Python 3.6.
AGENT_SIDE = (
    "roujiamo.errors",
    "roujiamo.protocol",
    "roujiamo.shim",
    "roujiamo.proxy",
    "roujiamo.system.processes",
    "roujiamo.system.selector",
    "roujiamo.system.private_folder",
    "roujiamo.system.configuration_files",
)
# Parts of these packages that stay on the submitting side.
SUBMITTING_SIDE = (
    "roujiamo.proxy.bootstrap",
    "roujiamo.proxy.carried",
    "roujiamo.proxy.first_contact_short",
)
# Modules that came after 3.6, and typing, which costs more to load than all the rest and is only for the type checker.
NOT_ON_AGENTS = {
    "contextvars",
    "dataclasses",
    "graphlib",
    "tomllib",
    "typing",
    "zoneinfo",
    "importlib.resources",
}
# All that the shim may load: built into the interpreter, or small. Under -I -S not even os is there already.
SHIM_MAY_LOAD = {
    # Python has loaded these two itself before the first line of ours.
    "_frozen_importlib_external",
    "_imp",
    "_signal",
    "_socket",
    "_struct",
    "errno",
    "fcntl",
    "gc",
    "marshal",
    "posix",
    "select",
    "struct",
    "sys",
    "time",
}

# Only one module may know these.
ONLY_IN = {
    "pymesos": "roujiamo.pymesos_driver",
    "http_parser": "roujiamo.pymesos_driver",
    "mpi4py": "roujiamo.examples",
}


class Import(NamedTuple):
    """One import: the module it names, the line, and whether only the type checker sees it."""

    name: str
    line: int
    is_for_types: bool


def name_of(path: Path) -> str:
    parts = ["roujiamo", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def is_type_guard(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id in ("MYPY", "TYPE_CHECKING")
    )


@functools.cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Every import in a module, also those inside functions; `from a import b` names a.b where that is a module."""

    def visit(node: ast.AST, is_for_types: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, is_for_types)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                base = f"{package}.{base}".rstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(inner if inner in MODULES else base, node.lineno, is_for_types)
        for child in ast.iter_child_nodes(node):
            guarded = is_type_guard(node) and child in node.body  # type: ignore[attr-defined]
            yield from visit(child, is_for_types or guarded)

    return tuple(visit(tree_of(module), False))


def longest_prefix(module: str, names: object) -> str | None:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in names:  # type: ignore[operator]
            # The package itself is only version and docstring: what else lies right in it must be named.
            return prefix if prefix != "roujiamo" or module == "roujiamo" else None
    return None


def layer_of(module: str) -> int:
    prefix = longest_prefix(module, LAYERS)
    assert prefix is not None, f"{module} is in no layer: give it one in LAYERS"
    return LAYERS[prefix]


def is_within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def is_agent_side(module: str) -> bool:
    if is_within(module, *SUBMITTING_SIDE):
        return False
    return is_within(module, *AGENT_SIDE) or module in ("roujiamo", "roujiamo.system")


def listed(problems: list[str]) -> None:
    # An import of several names counts once.
    assert not problems, "\n" + "\n".join(dict.fromkeys(problems))


def ours(module: str) -> Iterator[Import]:
    return (found for found in imports_of(module) if is_within(found.name, "roujiamo"))


def foreign(module: str) -> Iterator[Import]:
    """Imports of what is not ours, as they happen at run time."""
    return (
        found
        for found in imports_of(module)
        if not found.is_for_types and not is_within(found.name, "roujiamo")
    )


def shims_modules() -> set[str]:
    """The shim's modules and everything of ours that they import, packages on the way included."""
    waiting = [module for module in MODULES if is_within(module, "roujiamo.shim")]
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in MODULES and module not in found:
            found.add(module)
            waiting.append(module.rpartition(".")[0])
            waiting.extend(import_.name for import_ in ours(module) if not import_.is_for_types)
    return found


def test_every_import_of_ours_names_a_module() -> None:
    """A name that this test cannot place would slip past every rule below."""
    listed(
        [
            f"{module}:{found.line} imports {found.name}, which is not there"
            for module in MODULES
            for found in ours(module)
            if found.name not in MODULES
        ]
    )


def test_every_name_in_the_rules_is_a_module() -> None:
    """A rule for a module that has moved would hold for nothing."""
    named = {*LAYERS, *AGENT_SIDE, *SUBMITTING_SIDE, *ONLY_IN.values()}
    listed([f"{name} is not there" for name in sorted(named - set(MODULES))])


def test_a_module_imports_only_from_its_own_layer_or_a_lower_one() -> None:
    """What is below can be understood, tested and replaced without what is above."""
    listed(
        [
            f"{module} (layer {layer_of(module)}) imports {found.name} ({layer_of(found.name)}), line {found.line}"
            for module in MODULES
            for found in ours(module)
            if layer_of(found.name) > layer_of(module)
        ]
    )


def test_programs_never_import_each_other() -> None:
    """They are processes of their own, and speak over pipes and sockets."""
    problems = []
    for module in MODULES:
        program = longest_prefix(module, LAYERS)
        if program in PROGRAMS:
            for found in ours(module):
                other = longest_prefix(found.name, LAYERS)
                if other in PROGRAMS and other != program:
                    problems.append(f"{module} imports {found.name}, line {found.line}")
    listed(problems)


def test_pure_code_has_no_clock_socket_thread_log_or_randomness() -> None:
    """Everything it does depends on its arguments alone, so its tests can try all there is."""
    problems = []
    for module in MODULES:
        if layer_of(module) > 1:
            continue
        for found in foreign(module):
            if found.name.partition(".")[0] in IMPURE:
                problems.append(f"{module} imports {found.name}, line {found.line}")
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Attribute) and node.attr in IMPURE_METHODS:
                problems.append(f"{module} asks for the time ({node.attr}), line {node.lineno}")
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in IMPURE_CALLS
            ):
                problems.append(f"{module} calls {node.func.id}, line {node.lineno}")
    listed(problems)


def test_pymesos_and_mpi4py_are_known_to_one_place_each() -> None:
    """The one has many warts that one adapter hides, the other is for the example's ranks only."""
    listed(
        [
            f"{module} imports {found.name}, line {found.line}"
            for module in MODULES
            for found in imports_of(module)
            if (only := ONLY_IN.get(found.name.partition(".")[0])) and not is_within(module, only)
        ]
    )


def test_agent_side_code_uses_the_standard_library_of_python_3_6_alone() -> None:
    """An agent needs a python3 and nothing else."""
    problems = []
    for module in filter(is_agent_side, MODULES):
        for found in imports_of(module):
            top = found.name.partition(".")[0]
            if found.is_for_types:
                continue
            if top == "__future__":
                problems.append(f"{module}: 3.6 has no __future__.annotations, line {found.line}")
            elif top == "roujiamo":
                if not is_agent_side(found.name):
                    problems.append(
                        f"{module} imports {found.name}, which stays on the submitting side, line {found.line}"
                    )
            elif top not in sys.stdlib_module_names or {found.name, top} & NOT_ON_AGENTS:
                problems.append(f"{module} imports {found.name}, line {found.line}")
    listed(problems)


def test_the_shim_loads_nothing_that_takes_time() -> None:
    """It is started once a host by every launcher: each of these modules loads in well under a millisecond."""
    listed(
        [
            f"{module} imports {found.name}, line {found.line}"
            for module in sorted(shims_modules())
            for found in foreign(module)
            if found.name not in SHIM_MAY_LOAD
        ]
    )


@requires_python36
def test_agent_side_code_loads_on_a_real_python_3_6() -> None:
    """Only the real thing knows every form that it does not understand, also those that run at import."""
    names = [name for name in MODULES if is_agent_side(name) and not name.endswith("__main__")]
    program = (
        "import sys, importlib\n"
        "sys.dont_write_bytecode = True\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "for path in sys.argv[2].split(':'): compile(open(path, encoding='utf-8').read(), path, 'exec')\n"
        "for name in sys.argv[3:]: importlib.import_module(name)\n"
    )
    interpreter = python36()
    assert interpreter is not None
    sources = ":".join(str(path) for name, path in MODULES.items() if is_agent_side(name))
    result = subprocess.run(
        [interpreter, "-I", "-c", program, str(PACKAGE.parent), sources, *names],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", [name for name in MODULES if is_agent_side(name)])
def test_agent_side_code_has_no_younger_syntax(module: str) -> None:
    """The same on machines that have no Python 3.6, as far as the parser of this one can tell."""
    ast.parse(MODULES[module].read_text(encoding="utf-8"), feature_version=(3, 6))
