"""The code that the agents get: all that they need and no more, as bytecode where their Python has ours."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import subprocess
import traceback
import types
import zlib
from pathlib import Path
from typing import Any

import pytest

from roujiamo.proxy import carried
from roujiamo.proxy.carried import CarriedCode, carried_modules
from roujiamo.proxy.importer import Importer
from roujiamo.proxy.shim_files import install_shim

OTHERS = b"\xff\xff\r\n"
# What starts a shim that is a package.
TEXT_ONLY = {"roujiamo.shim.__main__", "roujiamo.shim.first_start", "roujiamo.shim.store"}


def unpacked(python: bytes) -> dict[str, Any]:
    code, digest = CarriedCode().of(python)
    assert hashlib.sha256(code).digest() == digest
    content: dict[str, Any] = marshal.loads(zlib.decompress(code))
    return content


def test_what_an_agent_runs_is_carried_and_nothing_else() -> None:
    """Nothing of roujiamo is installed there; what stays here would only cost bytes, once per host."""
    modules = carried_modules()
    assert {
        "roujiamo.__init__",
        "roujiamo.errors",
        "roujiamo.protocol.__init__",
        "roujiamo.protocol.link",
        "roujiamo.proxy.__init__",
        "roujiamo.proxy.worker",
        "roujiamo.system.__init__",
        "roujiamo.system.processes",
    } <= set(modules)
    packages = {name.split(".")[1] for name in modules}
    assert packages <= {"__init__", "errors", "protocol", "proxy", "shim", "system"}
    assert {name for name in modules if ".system." in name} == {
        "roujiamo.system.__init__",
        "roujiamo.system.processes",
        "roujiamo.system.selector",
    }
    assert "roujiamo.proxy.bootstrap" not in modules


def test_a_python_with_our_bytecode_gets_that_and_another_gets_texts() -> None:
    """Bytecode spares an agent most of its start, and is of no use to any other Python."""
    ours, others = unpacked(importlib.util.MAGIC_NUMBER), unpacked(OTHERS)
    assert set(ours) == {"", *carried_modules()} - TEXT_ONLY
    assert not [name for name, content in ours.items() if isinstance(content, str)]
    assert isinstance(ours[""], types.CodeType)
    assert others == {"": others["roujiamo.proxy.importer"], **carried_modules()}


def test_each_form_is_made_once() -> None:
    """It takes the broker some 20 ms, and there may be ten thousand hosts."""
    code = CarriedCode()
    assert code.of(OTHERS) is code.of(bytes(4))
    assert code.of(importlib.util.MAGIC_NUMBER) is code.of(importlib.util.MAGIC_NUMBER)
    assert code.of(OTHERS) is not code.of(importlib.util.MAGIC_NUMBER)


def functions_of(code: types.CodeType) -> dict[str, types.CodeType]:
    found = {}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found[f"{constant.co_name}:{constant.co_firstlineno}"] = constant
            found.update(functions_of(constant))
    return found


@pytest.mark.parametrize("name", sorted(set(carried_modules()) - TEXT_ONLY))
def test_bytecode_is_what_its_text_compiles_to_without_columns_and_docstrings(name: str) -> None:
    """Every instruction and every line are there; the rest is a third of the bytes."""
    path = name.replace(".", "/") + ".py"
    light = marshal.loads(unpacked(importlib.util.MAGIC_NUMBER)[name])
    full = compile(carried_modules()[name], path, "exec", dont_inherit=True)
    light_ones, full_ones = {"": light, **functions_of(light)}, {"": full, **functions_of(full)}
    assert set(light_ones) == set(full_ones)
    for function, code in light_ones.items():
        whole = full_ones[function]
        assert code.co_code == whole.co_code
        assert code.co_filename == path
        lines = [code_lines(each) for each in (code, whole)]
        assert lines[0] == lines[1], function
        differing = [pair for pair in zip(code.co_consts, whole.co_consts, strict=True) if pair[0] != pair[1]]
        # What calls a function's documentation by its name would miss it; nothing of ours does.
        assert all(
            isinstance(one, types.CodeType) or (one is None and isinstance(other, str))
            for one, other in differing
        )


def code_lines(code: types.CodeType) -> list[int | None]:
    """The line of each byte of the code."""
    return [line for start, end, line in code.co_lines() for _ in range(start, end)]


def test_a_traceback_of_carried_code_names_its_file_and_line() -> None:
    """A fault of ours on an agent is read from the sandbox, where there is no file to look at."""
    text = '"""A module."""\n\n\ndef fail() -> None:\n    """Say no."""\n    raise ValueError("no")\n'
    bytecode = marshal.dumps(carried._lightened(compile(text, "elsewhere.py", "exec"), "roujiamo/b.py"))
    contents: dict[str, str | bytes] = {"a": text, "b": bytecode}
    importer = Importer({f"roujiamo.{name}": content for name, content in contents.items()})
    for name, content in contents.items():
        spec = importer.find_spec(f"roujiamo.{name}")
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        importer.exec_module(module)
        with pytest.raises(ValueError, match="no") as caught:
            module.fail()
        told = "".join(traceback.format_exception(caught.value))
        assert f'File "roujiamo/{name}.py", line 6, in fail' in told
        assert ('    raise ValueError("no")\n' in told) == isinstance(content, str)


def test_the_importer_leaves_other_modules_to_python() -> None:
    """It stands first in line, and knows what came and nothing else."""
    importer = Importer({"roujiamo.proxy.__init__": "", "roujiamo.proxy.a": ""})
    package, module = importer.find_spec("roujiamo.proxy"), importer.find_spec("roujiamo.proxy.a")
    assert package is not None
    assert package.submodule_search_locations == []
    assert module is not None
    assert module.submodule_search_locations is None
    assert importer.find_spec("socket") is None
    assert importer.find_spec("roujiamo.proxy.b") is None


@pytest.mark.parametrize("python", [importlib.util.MAGIC_NUMBER, OTHERS])
def test_the_shim_is_a_program_in_a_folder_for_its_user_alone(tmp_path: Path, python: bytes) -> None:
    """A daemon runs it for the hosts below its own; nobody else may even look at it."""
    folder = tmp_path / "it's here"
    install_shim(str(folder), unpacked(python))
    assert folder.stat().st_mode & 0o777 == 0o700
    written = {path.suffix for path in folder.rglob("*") if path.is_file()}
    done = subprocess.run(
        [folder / "bin" / "roujiamo-rsh", "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("roujiamo-rsh")
    if python == importlib.util.MAGIC_NUMBER:
        assert {path.name for path in folder.rglob("*")} == {"bin", "roujiamo-rsh", "shim.pyc"}
    else:
        assert written == {"", ".py"}
        assert not list(folder.rglob("worker.*"))
