"""The folder of sessions: nobody else's, and swept of what dead brokers left."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roujiamo.errors import RoujiamoError
from roujiamo.system.runtime_folder import SessionFolder, check_socket_path, runtime_folder, sweep
from tests.support import running, until


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "roujiamo-sessions"
    monkeypatch.setenv("ROUJIAMO_RUNTIME_DIR", str(folder))
    return folder


def test_it_is_made_for_its_owner_alone(chosen: Path) -> None:
    """Sockets in it are as good as a password."""
    assert runtime_folder() == chosen
    assert chosen.stat().st_mode & 0o777 == 0o700
    assert runtime_folder() == chosen, "a second time it is there already"


def test_an_open_folder_is_refused(chosen: Path) -> None:
    """Somebody else may have made it first."""
    chosen.mkdir(mode=0o755)
    chosen.chmod(0o755)
    with pytest.raises(RoujiamoError, match="not a folder of yours alone"):
        runtime_folder()


def test_a_link_in_its_place_is_refused(chosen: Path, tmp_path: Path) -> None:
    """A link planted in a shared temporary folder leads where its owner wants."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    chosen.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RoujiamoError, match="not a folder of yours alone"):
        runtime_folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder to another user")
def test_another_users_folder_is_refused(chosen: Path) -> None:
    """Its owner could take the sockets away."""
    chosen.mkdir(mode=0o700)
    os.chown(chosen, 65534, 65534)
    with pytest.raises(RoujiamoError, match="not a folder of yours alone"):
        runtime_folder()


def test_the_default_lies_in_xdg_runtime_dir_where_that_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on every desktop and login node with systemd, and is emptied at logout."""
    monkeypatch.delenv("ROUJIAMO_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_folder() == tmp_path / "roujiamo"


def test_a_path_that_no_socket_address_holds_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """The system's own error would be `AF_UNIX path too long` at an unexpected place."""
    with pytest.raises(RoujiamoError, match="set ROUJIAMO_RUNTIME_DIR to a shorter one"):
        check_socket_path(tmp_path / ("x" * 100) / "socket")


def test_sweeping_removes_what_a_killed_broker_left_and_nothing_else(chosen: Path) -> None:
    """A living broker holds a lock that dies with it."""
    folder = runtime_folder()
    alive = SessionFolder(folder / "1-aaaaaaaa")
    program = (
        "import os, sys, pathlib; from roujiamo.system.runtime_folder import SessionFolder; "
        "SessionFolder(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder / "2-bbbbbbbb")], check=False, timeout=30)
    assert (folder / "2-bbbbbbbb" / "lock").exists()
    # Somebody may have named a folder of their own.
    (folder / "not-a-session").mkdir()
    (folder / "not-a-session" / "lock").touch()
    sweep(folder)
    assert sorted(entry.name for entry in folder.iterdir()) == ["1-aaaaaaaa", "not-a-session"]
    alive.remove()
    assert not (folder / "1-aaaaaaaa").exists()


def test_the_last_session_takes_the_empty_folder_with_it(chosen: Path) -> None:
    """And one that starts at that moment makes it again."""
    folder = runtime_folder()
    first = SessionFolder(folder / "first")
    first.remove()
    assert not chosen.exists()
    second = SessionFolder(folder / "second")
    assert chosen.stat().st_mode & 0o777 == 0o700
    second.remove()


def test_a_folder_that_a_killed_broker_left_is_taken_over(chosen: Path) -> None:
    """A launcher's session has one name: the next broker of that launcher finds the dead one's things there."""
    folder = runtime_folder() / "77-0000beef"
    folder.mkdir(mode=0o700)
    for name in ("lock", "socket", "log"):
        (folder / name).write_text("left")
    held = SessionFolder(folder)
    assert [each.name for each in folder.iterdir()] == ["lock"]
    held.remove()
    assert not folder.exists()


def test_a_folder_that_a_shim_has_made_is_taken_over(chosen: Path) -> None:
    """It is the lock under which the session is started."""
    folder = runtime_folder() / "77-0000beef"
    folder.mkdir(mode=0o700)
    held = SessionFolder(folder)
    assert (folder / "lock").exists()
    held.remove()


def test_a_living_brokers_folder_is_not_taken(chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two brokers in one place would each answer for half of the shims."""
    monkeypatch.setattr("roujiamo.system.runtime_folder._TAKE_OVER_SECONDS", 0.1)
    folder = runtime_folder() / "77-0000beef"
    held = SessionFolder(folder)
    (folder / "socket").touch()
    with pytest.raises(RoujiamoError, match="in use by another broker"):
        SessionFolder(folder)
    assert (folder / "socket").exists()
    held.remove()


def test_a_sweep_spares_a_session_that_is_being_started(chosen: Path) -> None:
    """The shim that starts it holds the folder locked, and there is no broker yet."""
    folder = runtime_folder() / "77-0000beef"
    folder.mkdir(mode=0o700)
    (folder / "lock").touch()
    place = os.open(folder, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)
    sweep(chosen)
    assert folder.exists()
    os.close(place)
    sweep(chosen)
    assert not folder.exists()


def test_an_end_outlasts_a_launcher_that_still_writes(chosen: Path) -> None:
    """An mpiexec whose parent was killed fills its temporary folder until it notices; nothing of that may stay."""
    chosen.mkdir(mode=0o700)
    session = SessionFolder(chosen / "1-00000000")
    temporary = session.path / "tmp"
    temporary.mkdir()
    write = 'n=0; while : > "$1/$n"; do n=$((n + 1)); done'
    with running(["sh", "-c", write, "sh", temporary]) as writer:
        until((temporary / "200").exists, 10, "the launcher's files")
        session.remove()
        assert not session.path.exists()
        # Its folder is gone.
        assert writer.wait() != 0


def test_what_a_launcher_has_made_once_more_is_swept(chosen: Path) -> None:
    """One that was still starting when its session had ended makes its temporary folder with all those above it."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (chosen / f"{ended.pid}-00000000" / "tmp").mkdir(parents=True)
    young = chosen / f"{os.getpid()}-00000000"
    young.mkdir()
    sweep(chosen)
    assert list(chosen.iterdir()) == [young]
