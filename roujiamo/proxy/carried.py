"""The proxy's own code on its way to the agents: which modules they need, and in which form each agent gets them.

Made by the broker, once a session for each form; `first_contact` unpacks it, `importer` makes modules of it. Nothing of
roujiamo needs to be installed on the agents, and all hosts of a session run the same version. Reads the package's own
files; trusts them.

    zlib(marshal({name: module, ...}))

A package's own module is called NAME.__init__, and the nameless one is the importer, to be executed as it is.

An agent whose Python has the bytecode of this one (its hello says so) gets each module as that, in bytes: to compile
the texts would take it 50 ms of CPU, most of its start. Any other gets texts.
"""

import functools
import importlib.util
import itertools
import marshal
import os
import sys
import zlib
from collections.abc import Mapping
from types import CodeType

from roujiamo.protocol.handshake import MAX_CODE

MYPY = False
if MYPY:
    # It would bring importlib.resources, with tempfile and shutil: 15 ms.
    from importlib.abc import InspectLoader

# All that runs on an agent, and what that imports: (folder, modules; all of the folder's where none are named).
_CARRIED = (
    ("", ("__init__", "errors")),
    ("protocol", ()),
    ("proxy", ()),
    ("shim", ()),
    ("system", ("__init__", "processes", "selector")),
)
# These run on the submitting side, or have done their work when the code comes. A shim in a task has a session, and
# elects none.
_LEFT_OUT = (
    "roujiamo.proxy.bootstrap",
    "roujiamo.proxy.carried",
    "roujiamo.proxy.first_contact",
    "roujiamo.proxy.first_contact_short",
    "roujiamo.shim.election",
)
_IMPORTER = "roujiamo.proxy.importer"
# What a shim that is a package of texts begins with; as bytecode it is one file (`roujiamo.shim.in_task`).
_TEXT_ONLY = ("roujiamo.shim.__main__", "roujiamo.shim.first_start", "roujiamo.shim.store")

# The flags of a code object that is a function's (inspect.CO_OPTIMIZED | CO_NEWLOCALS), and, from Python 3.13 on, of
# one with a docstring (CO_HAS_DOCSTRING). Before, a function's first constant is its docstring or None.
_FUNCTION = 3
_DOCSTRING = 0x4000000 if sys.version_info >= (3, 13) else 0
# A location without columns, and none at all (cpython/InternalDocs/code_objects.md, "Location table").
_LINE_ONLY = 13
_NOWHERE = 15


def carried_modules() -> "dict[str, str]":
    """Return the text of each module that the agents need, by dotted name (a package's is called NAME.__init__)."""
    return {name: _source(loader, module) for name, (loader, module) in _loaders().items()}


def _loaders() -> "dict[str, tuple[InspectLoader, str]]":
    """Return for each of these names what loads the module, and what that calls it."""
    found = {}
    for folder, names in _CARRIED:
        package = ("roujiamo.%s" % folder).rstrip(".")
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations if spec is not None else None
        assert folders is not None
        # Not by pkgutil, which would load inspect, 9 ms.
        modules = [file[:-3] for each in folders for file in sorted(os.listdir(each)) if file.endswith(".py")]
        for name in names or modules:
            carried = "%s.%s" % (package, name)
            module = package if name == "__init__" else carried
            if carried not in _LEFT_OUT:
                found[carried] = (_loader(module), module)
    return found


def _loader(module: str) -> "InspectLoader":
    spec = importlib.util.find_spec(module)
    assert spec is not None
    return spec.loader  # type: ignore[return-value]  # any that Python has for files and archives is one


def _source(loader: "InspectLoader", module: str) -> str:
    text = loader.get_source(module)
    assert text is not None
    return text


class CarriedCode:
    """The code in each form that was asked for, made when it first is."""

    def __init__(self) -> None:
        self._texts = functools.cache(lambda: _packed(_as_texts()))
        self._bytecode = functools.cache(lambda: _packed(_as_bytecode()))

    def of(self, python: bytes) -> "tuple[bytes, bytes]":
        """Return the code, and the SHA-256 of it, for an agent whose Python has that magic number.

        To make it takes some 20 ms once.
        """
        return self._bytecode() if python == importlib.util.MAGIC_NUMBER else self._texts()


def _packed(content: "Mapping[str, str | bytes | CodeType]") -> "tuple[bytes, bytes]":
    # What any Python 3 can read; nearly all bytecode is only bytes in here.
    # Once the broker is on its way: loading it takes 4 ms.
    import hashlib

    # In half the time that the default level takes, 5 ms, for a twenty-fifth more bytes.
    code = zlib.compress(marshal.dumps(dict(content), 2), 4)
    if len(code) > MAX_CODE:
        raise AssertionError("the proxy's code has become too large: %d bytes" % len(code))
    return code, hashlib.sha256(code).digest()


def _as_texts() -> "dict[str, str | bytes | CodeType]":
    modules = carried_modules()
    return {"": modules[_IMPORTER], **modules}


def _as_bytecode() -> "dict[str, str | bytes | CodeType]":
    """Take what Python keeps beside each module, if it can be had, since that takes no compiling."""
    content = {}  # type: dict[str, str | bytes | CodeType]
    for name, (loader, module) in _loaders().items():
        if name in _TEXT_ONLY:
            continue
        path = name.replace(".", "/") + ".py"
        code = loader.get_code(module)
        if code is None:
            code = compile(_source(loader, module), path, "exec", dont_inherit=True)
        code = _lightened(code, path)
        content[name] = marshal.dumps(code)
        if name == _IMPORTER:
            content[""] = code
    return content


def _lightened(code: CodeType, path: str) -> CodeType:
    """Return the same code without docstrings and columns: 88 instead of 136 kB for each host. Lines stay."""
    constants = [_lightened(each, path) if isinstance(each, CodeType) else each for each in code.co_consts]
    is_function = code.co_flags & (_FUNCTION | _DOCSTRING) == _FUNCTION | _DOCSTRING
    if is_function and not code.co_name.startswith("<") and constants and isinstance(constants[0], str):
        constants[0] = None
    changes = {"co_consts": tuple(constants), "co_filename": path}  # type: dict[str, object]
    if sys.version_info >= (3, 11):
        changes["co_linetable"] = _without_columns(code)
    return code.replace(**changes)  # type: ignore[arg-type]


def _without_columns(code: CodeType) -> bytes:
    """Return the location table (Python 3.11 and later) with the lines alone."""
    table = bytearray()
    last = code.co_firstlineno
    for line, ranges in itertools.groupby(code.co_lines(), _line_of):
        # In code units of two bytes, eight of them to an entry at most; what is on one line is one range here.
        full, rest = divmod(sum([end - start for start, end, _ in ranges]) // 2, 8)
        kind, distance, none = (
            (_NOWHERE, b"", b"") if line is None else (_LINE_ONLY, _distance(line - last), b"\0")
        )
        last = last if line is None else line
        for units in (8,) * full + (rest,) * (rest > 0):
            table.append(0x80 | kind << 3 | units - 1)
            table += distance
            distance = none
    return bytes(table)


def _line_of(location: "tuple[int, int, int | None]") -> "int | None":
    return location[2]


@functools.cache
def _distance(value: int) -> bytes:
    """Return it as a signed varint."""
    rest = -value << 1 | 1 if value < 0 else value << 1
    encoded = bytearray()
    while rest > 63:
        encoded.append(64 | rest & 63)
        rest >>= 6
    encoded.append(rest)
    return bytes(encoded)
