"""The shim's modules are kept in one file, which a start takes only where it is of these very sources."""

from __future__ import annotations

import errno
import os
import posix
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from roujiamo import __version__
from roujiamo.shim.store import write_store
from tests.shim.session import package_at
from tests.support.tools import ROOT

OTHER = "9" + __version__[1:]


def version(root: Path) -> str:
    """Start the shim of the package in `root` for its version, which is written in roujiamo/__init__.py."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", root / "roujiamo" / "shim" / "__main__.py", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        umask=0o022,
    )
    assert done.stderr == ""
    return done.stdout.split()[-1]


def stores(root: Path) -> list[Path]:
    return sorted((root / "roujiamo" / "shim" / "__pycache__").glob("store.*[!c]"))


def change(root: Path, *, later: bool) -> None:
    """Have the sources say another version, in as many bytes; `later`: with another time."""
    source = root / "roujiamo" / "__init__.py"
    before = source.stat()
    source.write_text(source.read_text().replace(__version__, OTHER))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + (10**9 if later else 0)))
    for bytecode in (root / "roujiamo" / "__pycache__").iterdir():
        bytecode.unlink()


def test_the_second_start_takes_all_from_the_store(tmp_path: Path) -> None:
    """What the sources say in truth, no start with a store looks for."""
    package_at(tmp_path)
    assert version(tmp_path) == __version__
    assert len(stores(tmp_path)) == 1
    change(tmp_path, later=False)
    assert version(tmp_path) == __version__
    assert not list((tmp_path / "roujiamo" / "__pycache__").iterdir())


def test_a_source_that_has_changed_makes_a_new_store(tmp_path: Path) -> None:
    """An upgrade, or work in a checkout."""
    package_at(tmp_path)
    version(tmp_path)
    before = stores(tmp_path)[0].read_bytes()
    change(tmp_path, later=True)
    assert version(tmp_path) == OTHER
    assert stores(tmp_path)[0].read_bytes() != before
    assert version(tmp_path) == OTHER


def test_a_source_that_is_gone_makes_the_store_nothing(tmp_path: Path) -> None:
    """A module that the sources have no more must not live on in the store."""
    package_at(tmp_path)
    version(tmp_path)
    (tmp_path / "roujiamo" / "protocol" / "fields.py").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        version(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content.replace(sys.version.encode(), b"2" + sys.version.encode()[1:]),
    ],
    ids=["empty", "half", "a byte short", "another Python's"],
)
def test_a_store_that_is_not_whole_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """The disk may have been full, and a Python of the same name upgraded."""
    package_at(tmp_path)
    version(tmp_path)
    whole = stores(tmp_path)[0].read_bytes()
    stores(tmp_path)[0].write_bytes(damage(whole))
    assert version(tmp_path) == __version__
    assert stores(tmp_path)[0].stat().st_size == len(whole)


@pytest.mark.parametrize("moved", [b"folder", b"file"])
def test_a_module_in_c_that_is_not_where_it_was_is_looked_for(tmp_path: Path, moved: bytes) -> None:
    """Another Python of the same version has it elsewhere, and only where this one looks itself may it come from."""
    origin = select.__spec__.origin
    if origin is None or not origin.endswith(".so"):
        pytest.skip("this Python has the module in itself")
    package_at(tmp_path)
    version(tmp_path)
    store = stores(tmp_path)[0]
    before = store.read_bytes()
    path = origin.encode()
    folder, _, file = path.rpartition(b"/")
    other = (folder[:-1] + b"?/" + file) if moved == b"folder" else folder + b"/?" + file[1:]
    assert path in before
    store.write_bytes(before.replace(path, other))
    assert version(tmp_path) == __version__
    assert store.read_bytes() == before.replace(path, other)


def test_where_no_store_can_be_written_the_shim_starts_without(tmp_path: Path) -> None:
    """In an installation of root's, for one; here something else has the name."""
    package_at(tmp_path)
    version(tmp_path)
    store = stores(tmp_path)[0]
    store.unlink()
    store.mkdir()
    assert version(tmp_path) == __version__
    assert stores(tmp_path) == [store]


def test_a_disk_that_is_found_full_at_the_end_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's file system may say so only when the file is closed; the store before it stays."""
    path = tmp_path / "store"
    path.write_bytes(b"before")
    close = posix.close

    def close_on_a_full_disk(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(posix, "close", close_on_a_full_disk)
    write_store(str(ROOT), str(path))
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == ["store"]
    assert path.read_bytes() == b"before"


def test_the_store_is_as_readable_as_the_package(tmp_path: Path) -> None:
    """Root may write it, for all users; what is one user's stays his; and nobody writes another's."""
    for mode, expected in ((0o755, 0o644), (0o700, 0o600), (0o1777, 0o644)):
        root = tmp_path / str(mode)
        root.mkdir()
        root.chmod(mode)
        package_at(root)
        version(root)
        assert stores(root)[0].stat().st_mode & 0o777 == expected


def test_modules_that_are_not_in_the_store_are_found_and_all_know_their_files(tmp_path: Path) -> None:
    """Some are loaded only where they are needed, and by others than the shim's own entry."""
    package_at(tmp_path)
    version(tmp_path)
    main = tmp_path / "roujiamo" / "shim" / "__main__.py"
    probe = (
        "import posix, sys\n"
        "def end(status):\n"
        "    import roujiamo.shim.help, roujiamo.shim.session\n"
        "    for name in ('help', 'session'):\n"
        "        module = sys.modules['roujiamo.shim.' + name]\n"
        "        print(name, type(module.__spec__.loader).__name__, module.__file__)\n"
        "    sys.exit(status)\n"
        "posix._exit = end\n"
        f"__file__ = {str(main)!r}\n"
        "sys.argv = ['x', '--version']\n"
        "exec(compile(open(__file__).read(), __file__, 'exec'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    folder = tmp_path / "roujiamo" / "shim"
    assert done.stdout.splitlines()[1:] == [
        f"help SourceFileLoader {folder}/help.py",
        # Not by any of Python's loaders.
        f"session NoneType {folder}/session.py",
    ]
