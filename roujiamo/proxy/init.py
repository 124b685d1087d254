"""init: the Mesos task's first process once the code is there, in the manner of tini.

It does nothing but outlive the worker: passes signals on to it, reaps orphans (as the subreaper of all that the task
starts), and when the worker has ended, in whatever way, ends what that left, removes the folder, and exits with the
worker's status. Where init itself is killed, the worker sees a pipe close and does the same. Trusts nobody's signals to
be enough: a worker that does not end when asked is killed.
"""

import os
import sys
import time

from roujiamo.proxy.ending import Session
from roujiamo.proxy.log import say
from roujiamo.system import processes

MYPY = False
if MYPY:
    # The C module has no type stub.
    import _socket
    import signal as _signal
    from typing import NoReturn
else:
    # `signal` makes enums of the numbers, which takes 5 ms.
    import _signal

ENDING_SIGNALS = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT)
# These would end init where nobody means it.
IGNORED_SIGNALS = (_signal.SIGUSR1, _signal.SIGUSR2, _signal.SIGALRM)
WATCHED_SIGNALS = (_signal.SIGCHLD, *ENDING_SIGNALS, *IGNORED_SIGNALS)

# What a worker takes to say farewell to the broker, and a little more.
WORKER_END_SECONDS = 1.0


def main(
    connection: "_socket.socket", modules: "dict[str, str | bytes]", send_key: bytes, receive_key: bytes
) -> "NoReturn":
    """Split into init and worker. `importer` calls this with the connection, its keys and the code that came."""
    folder = "%s/.roujiamo-%s" % (os.path.abspath(os.environ.get("MESOS_SANDBOX", "")), os.urandom(8).hex())
    session = Session(folder, os.urandom(8).hex() + "-", processes.become_subreaper())
    _signal.pthread_sigmask(_signal.SIG_BLOCK, WATCHED_SIGNALS)
    watch, keep_open = os.pipe()
    try:
        worker_pid = os.fork()
    except OSError as error:
        _say_goodbye(
            connection,
            send_key,
            receive_key,
            "cannot start a process: %s; a limit of that host may be too low" % error.strerror,
        )
        session.end()
        sys.exit(1)
    if worker_pid == 0:
        os.close(keep_open)
        os._exit(_run_worker(connection, modules, session, send_key, receive_key, watch))
    os.close(watch)
    connection.close()
    status = _wait_for_worker(worker_pid)
    session.end()
    sys.exit(status)


def _say_goodbye(connection: "_socket.socket", send_key: bytes, receive_key: bytes, sentence: str) -> None:
    """Tell the broker, where there will be no worker to do it."""
    from roujiamo.protocol.frames import GOODBYE
    from roujiamo.protocol.link import Link

    say(sentence)
    link = Link(send_key, receive_key)
    link.send_frame(GOODBYE, 0, sentence.encode())
    try:
        connection.sendall(link.data_to_send())
    except OSError:
        # It is gone as well.
        pass


def _run_worker(
    connection: "_socket.socket",
    modules: "dict[str, str | bytes]",
    session: Session,
    send_key: bytes,
    receive_key: bytes,
    watch: int,
) -> int:
    try:
        # init needs none of this, and stays the smaller.
        from roujiamo.proxy import worker

        return worker.main(connection, modules, session, send_key, receive_key, watch)
    except Exception:  # noqa: BLE001  (the process's last frame: a fault of ours is told, and init cleans up)
        # Here, because it takes 10 ms to load.
        import traceback

        say("the worker failed, which is a fault in roujiamo:\n" + traceback.format_exc())
        return 1


def _wait_for_worker(pid: int) -> int:
    """Pass signals on until the worker has ended; return the status to exit with."""
    kill_at = None  # type: float | None
    while True:
        if kill_at is None:
            number = _signal.sigwait(WATCHED_SIGNALS)
        else:
            arrived = _signal.sigtimedwait(WATCHED_SIGNALS, max(0.0, kill_at - time.monotonic()))
            if arrived is None:
                say("the worker did not end when asked to, and is killed")
                os.kill(pid, _signal.SIGKILL)
                kill_at = None
                continue
            number = arrived.si_signo
        if number == _signal.SIGCHLD:
            for ended, status in processes.reap_children():
                if ended == pid:
                    return _exit_status(status)
        elif number in ENDING_SIGNALS:
            os.kill(pid, number)
            if kill_at is None:
                kill_at = time.monotonic() + WORKER_END_SECONDS


def _exit_status(status: int) -> int:
    if os.WIFSIGNALED(status):
        say("the worker was killed by signal %d; ending what it ran" % os.WTERMSIG(status))
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)
