"""The shim inside the task: its files, and the roujiamo-rsh that a daemon there finds on its PATH.

Runs in the worker, before the host is ready. The proxy's own modules stay in memory; the shim is a program by itself,
which Python loads from files.
"""

import marshal
import os
import sys

MYPY = False
if MYPY:
    from collections.abc import Mapping

# What the shim has in common with the proxy, and its own.
_PACKAGES = ("roujiamo", "roujiamo.protocol", "roujiamo.shim")
_IN_TASK = "roujiamo.shim.in_task"
_IMPORTER = "roujiamo.proxy.importer"


def install_shim(folder: str, modules: "Mapping[str, str | bytes]") -> None:
    """Write the shim's files into the new folder `folder`; `bin` in it is for the commands' PATH.

    `modules`: as `roujiamo.proxy.importer` has them. Raises OSError, for example where the disk is full.
    """
    os.mkdir(folder, 0o700)
    ours = {name: content for name, content in modules.items() if name.rpartition(".")[0] in _PACKAGES}
    # Its form is that of all.
    start = ours[_IN_TASK]
    if isinstance(start, str):
        program = _write_package(folder, ours)
    else:
        program = folder + "/shim.pyc"
        ours[_IMPORTER] = modules[_IMPORTER]
        _write(program, _as_one(start, ours))
    os.mkdir(folder + "/bin")
    text = '#!/bin/sh\nexec %s -I -S %s "$@"\n' % (_quoted(sys.executable or "python3"), _quoted(program))
    _write(folder + "/bin/roujiamo-rsh", os.fsencode(text))
    os.chmod(folder + "/bin/roujiamo-rsh", 0o700)


def _write_package(folder: str, modules: "Mapping[str, str | bytes]") -> str:
    """Write the texts as Python loads them, and keeps their bytecode; return the program."""
    for package in _PACKAGES:
        os.mkdir(_path(folder, package))
    for name, content in modules.items():
        _write(_path(folder, name) + ".py", content.encode() if isinstance(content, str) else content)
    return _path(folder, "roujiamo.shim.__main__") + ".py"


def _as_one(start: bytes, modules: "Mapping[str, str | bytes]") -> bytes:
    """Return a file of bytecode (PEP 552; no source to compare with): the code `start`, with the modules in it."""
    # Where importlib.util has it from, which is loaded.
    from _frozen_importlib_external import MAGIC_NUMBER

    code = marshal.loads(start)
    # A constant must be one that has a hash; a dict has none.
    constants = tuple(tuple(modules.items()) if each is ... else each for each in code.co_consts)
    return MAGIC_NUMBER + bytes(12) + marshal.dumps(code.replace(co_consts=constants))


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _path(folder: str, name: str) -> str:
    return folder + "/" + name.replace(".", "/")


def _quoted(word: str) -> str:
    """Return one word of a shell's, whatever is in it; shlex would load `re`, which takes 8 ms."""
    return "'" + word.replace("'", "'\"'\"'") + "'"
