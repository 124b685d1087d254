"""The other end of the shim's socket: a small server that runs each command as the proxy does, with `sh -c`.

`python -m tests.shim.server ADDRESS` prints "ready" and serves until it is killed; ADDRESS is a path or @name. A thread
per connection, the product's own Channel as acceptor. The host's name chooses what goes wrong; all others run commands.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from roujiamo.errors import ProtocolError
from roujiamo.protocol.channel import ACCEPTOR, CLOSED, OPEN_STATE, Channel
from roujiamo.protocol.frames import (
    CLOSE,
    DATA,
    EOF,
    INITIAL_WINDOW,
    MAX_DATA,
    OPEN,
    SIGNAL,
    SIGNAL_NAMES,
    SIGNAL_NUMBERS,
    Decoder,
    encode,
)


class Connection:
    """One shim: its channel, and the command that it asked for."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.channel = Channel(1, ACCEPTOR)
        self.decoder = Decoder()
        self.host = b""
        self.token = b""
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1
        self.stdin = bytearray()
        self.stdin_ended = False
        self.outputs: dict[int, str] = {}
        self.reported = False
        self.on_closed = b""

    def serve(self) -> None:
        """Run until the command and its output have ended, or the shim is gone."""
        with contextlib.suppress(ConnectionError, ProtocolError), self.connection:
            try:
                while self.channel.state != CLOSED:
                    self.step()
                    self.send()
            finally:
                self.end()

    def send(self) -> None:
        """Send what is queued; byte by byte to the host `onebyte`."""
        data = self.channel.data_to_send()
        if self.host == b"onebyte":
            for byte in data:
                self.connection.sendall(bytes([byte]))
        else:
            self.connection.sendall(data)

    def step(self) -> None:
        """Wait for something to happen, and do it."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if self.process is not None:
            if not self.reported:
                poll.register(self.pidfd, select.POLLIN)
            if self.process.stdin and (self.stdin or self.stdin_ended):
                poll.register(self.process.stdin, select.POLLOUT)
            if self.channel.sendable:
                for descriptor in self.outputs:
                    poll.register(descriptor, select.POLLIN)
        for descriptor, _events in poll.poll():
            if descriptor == self.connection.fileno():
                self.on_socket()
            elif descriptor == self.pidfd:
                self.on_exit()
            elif descriptor in self.outputs:
                self.on_output(descriptor)
            else:
                self.on_stdin_room()
        if self.reported and not self.outputs and self.channel.state == OPEN_STATE:
            self.channel.close()

    def on_socket(self) -> None:
        data = self.connection.recv(65536)
        if not data:
            self.channel.state = CLOSED
        for frame_type, _number, payload in self.decoder.receive_data(data):
            event, value = self.channel.receive_frame(frame_type, payload)
            if event == OPEN:
                self.on_open(*value)
            elif event == DATA:
                self.stdin += value
            elif event == EOF:
                self.stdin_ended = True
            elif event == SIGNAL and self.process is not None and not self.reported:
                os.killpg(self.process.pid, SIGNAL_NUMBERS[value])
            elif event == CLOSE:
                return

    def on_open(self, host: bytes, command: bytes, token: bytes) -> None:
        self.host = host
        if host == b"silent":
            return
        if host.startswith(b"refused"):
            self.channel.refuse(int(host[8:] or 255), "there is no such host; \x1b[1mtry\nanother")
            return
        if host == b"garbage":
            self.connection.sendall(bytes(range(255, 0, -1)) * 50)
            return
        if host == b"wrongchannel":
            self.connection.sendall(encode(DATA, 7, b"x"))
            return
        if host == b"gone":
            self.channel.state = CLOSED
            return
        self.channel.accept()
        if host == b"overrun":
            # The command is the file that says that the shim has closed the channel.
            self.on_closed = command
            self.send()
            for _ in range(INITIAL_WINDOW // MAX_DATA + 1):
                self.connection.sendall(encode(DATA, 1, b"x" * MAX_DATA))
            return
        if host == b"lost":
            self.channel.send_data(b"so far\n")
            self.channel.close(255, "the agent was lost")
            return
        if host == b"nostatus":
            self.channel.close()
            return
        if host == b"bigstatus":
            self.channel.send_exit_status(256)
            self.channel.close()
            return
        self.process = subprocess.Popen(
            [b"/bin/sh", b"-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environb, **self.temporary_folder(), b"ROUJIAMO_TEST_TOKEN": token},
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        os.set_blocking(self.process.stdin.fileno(), False)
        self.pidfd = os.pidfd_open(self.process.pid)
        self.outputs = {self.process.stdout.fileno(): "stdout", self.process.stderr.fileno(): "stderr"}

    def temporary_folder(self) -> dict[bytes, bytes]:
        """A host's own, beside the socket: two daemons of Open MPI that make one folder at the same moment may fail."""
        address = self.connection.getsockname()
        if not isinstance(address, str):
            return {}
        folder = Path(address).with_name(f"tmp-of-{self.host.hex()}")
        folder.mkdir(exist_ok=True)
        return {b"TMPDIR": os.fsencode(folder)}

    def on_stdin_room(self) -> None:
        assert self.process
        assert self.process.stdin
        try:
            if self.stdin:
                written = os.write(self.process.stdin.fileno(), self.stdin[:65536])
                del self.stdin[:written]
                self.channel.consume(written)
        except BrokenPipeError:
            self.channel.consume(len(self.stdin))
            self.stdin.clear()
        if self.stdin_ended and not self.stdin:
            self.process.stdin.close()
            self.process.stdin = None

    def on_output(self, descriptor: int) -> None:
        if not self.channel.sendable:
            return
        data = os.read(descriptor, min(self.channel.sendable, MAX_DATA))
        if data and self.outputs[descriptor] == "stdout":
            self.channel.send_data(data)
        elif data:
            self.channel.send_stderr(data)
        elif self.outputs.pop(descriptor) == "stdout":
            self.channel.send_eof()

    def on_exit(self) -> None:
        assert self.process
        status = self.process.wait()
        self.reported = True
        if status >= 0:
            self.channel.send_exit_status(status)
        else:
            self.channel.send_exit_signal(SIGNAL_NAMES[-status], False)

    def end(self) -> None:
        """Kill what still runs of the command."""
        if self.on_closed:
            Path(os.fsdecode(self.on_closed)).touch()
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        if not self.reported:
            try:
                self.process.wait(1)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        os.close(self.pidfd)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def main(address: str) -> None:
    """Serve until killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.listen(int(os.environ.get("ROUJIAMO_TEST_BACKLOG", "200")))
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=Connection(connection).serve, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
