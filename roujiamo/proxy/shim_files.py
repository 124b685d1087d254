"""The shim inside the task: its files, and the roujiamo-rsh that a daemon there finds on its PATH.

Runs in the worker, before the host is ready. The proxy's own modules stay in memory; the shim is a program by itself,
which Python loads from files.
"""

import os
import sys

MYPY = False
if MYPY:
    from collections.abc import Mapping

# What the shim has in common with the proxy, and its own.
_PACKAGES = ("roujiamo", "roujiamo.protocol", "roujiamo.shim")


def install_shim(folder: str, modules: "Mapping[str, str | bytes]") -> None:
    """Write the shim's files into the new folder `folder`; `bin` in it is for the commands' PATH.

    `modules`: as `roujiamo.proxy.importer` has them. Raises OSError, for example where the disk is full.
    """
    os.mkdir(folder, 0o700)
    for package in _PACKAGES:
        os.mkdir(_path(folder, package))
    for name, content in modules.items():
        if name.rpartition(".")[0] not in _PACKAGES:
            continue
        if isinstance(content, str):
            path, data = _path(folder, name) + ".py", content.encode()
        else:
            path, data = _path(folder, name) + ".pyc", _bytecode_header() + content
        with open(path, "wb") as file:
            file.write(data)
    os.mkdir(folder + "/bin")
    program = _path(folder, "roujiamo.shim.__main__") + ".py"
    text = '#!/bin/sh\nexec %s -I -S %s "$@"\n' % (_quoted(sys.executable or "python3"), _quoted(program))
    with open(folder + "/bin/roujiamo-rsh", "wb") as file:
        file.write(os.fsencode(text))
        os.fchmod(file.fileno(), 0o700)


def _path(folder: str, name: str) -> str:
    return folder + "/" + name.replace(".", "/")


def _bytecode_header() -> bytes:
    """Return the head of a file of bytecode without its source (PEP 552): nothing to compare with."""
    # Where importlib.util has it from, which is loaded.
    from _frozen_importlib_external import MAGIC_NUMBER

    return MAGIC_NUMBER + bytes(12)


def _quoted(word: str) -> str:
    """Return one word of a shell's, whatever is in it; shlex would load `re`, which takes 8 ms."""
    return "'" + word.replace("'", "'\"'\"'") + "'"
