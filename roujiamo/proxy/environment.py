"""The environment of remote commands, and the facts about a host that the broker wants to know.

Runs in the worker. Trusts the task's environment and the broker's welcome; both are the session owner's.
"""

import _socket
import array
import fcntl
import os
import pwd
import struct
import sys

from roujiamo.protocol.fields import pack_fields

MYPY = False
if MYPY:
    from collections.abc import Mapping

# The task's own: what they say is over (the token) or said anew (the socket and its token).
_NOT_PASSED_ON = (b"ROUJIAMO_TOKEN", b"ROUJIAMO_CALLBACK", b"ROUJIAMO_HOST")
_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# ioctl(2) SIOCGIFCONF, netdevice(7): struct ifconf {int; pointer}, and struct ifreq of 40 bytes on 64-bit machines.
_SIOCGIFCONF = 0x8912
_IFREQ_SIZE = 40 if struct.calcsize("P") == 8 else 32


def task_environment() -> "dict[bytes, bytes]":
    """Return the environment with which Mesos started the task.

    Not os.environb: a Python that starts in the C locale adds LC_CTYPE there (PEP 538), which nobody asked for.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    pairs = [entry.partition(b"=") for entry in entries if b"=" in entry]
    return {name: value for name, _, value in pairs}


def command_environment(
    task: "Mapping[bytes, bytes]",
    welcome: "Mapping[str, str]",
    prefix: str,
    folder: str,
    socket_name: str,
    token: str,
) -> "dict[bytes, bytes]":
    """Return what every remote command gets: the task's own, what sshd would set, the user's, the way to the shim.

    `prefix`: the folder whose bin and lib come first, "" where there is none.
    """
    environment = {name: value for name, value in task.items() if name not in _NOT_PASSED_ON}
    for name, value in _account().items():
        environment.setdefault(name, value)
    for text, content in welcome.items():
        environment[encoded(text)] = encoded(content)
    path = environment.get(b"PATH") or _DEFAULT_PATH
    if prefix:
        path = encoded(prefix) + b"/bin:" + path
        libraries = environment.get(b"LD_LIBRARY_PATH")
        environment[b"LD_LIBRARY_PATH"] = encoded(prefix) + b"/lib" + (b":" + libraries if libraries else b"")
    environment[b"PATH"] = os.fsencode(folder) + b"/bin:" + path
    environment[b"ROUJIAMO_HOST"] = task.get(b"ROUJIAMO_HOST", b"")
    environment[b"ROUJIAMO_SOCKET"] = encoded(socket_name)
    environment[b"ROUJIAMO_TOKEN"] = encoded(token)
    return environment


def encoded(text: str) -> bytes:
    """Return the bytes that the submitting side's Python read as `text`, whatever the locale is here."""
    return text.encode("utf-8", "surrogateescape")


def _account() -> "dict[bytes, bytes]":
    """HOME, USER, LOGNAME and SHELL as sshd sets them; a container may run a uid that has no name."""
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
        name, home, shell = entry.pw_name, entry.pw_dir or "/", entry.pw_shell or "/bin/sh"
    except KeyError:
        name, home, shell = str(uid), "/", "/bin/sh"
    user = encoded(name)
    return {b"HOME": encoded(home), b"USER": user, b"LOGNAME": user, b"SHELL": encoded(shell)}


def host_facts(connection: _socket.socket, sandbox: str) -> bytes:
    """Return the READY frame's payload: names and values in turn."""
    address = str(connection.getsockname()[0])
    # An IPv4 peer of a socket that serves both families is written ::ffff:a.b.c.d.
    address = address[7:] if address.startswith("::ffff:") else address
    facts = (
        ("hostname", _socket.gethostname()),
        ("pid", str(os.getpid())),
        ("sandbox", sandbox),
        ("python", "%d.%d.%d" % sys.version_info[:3]),
        ("user", _account()[b"USER"].decode("utf-8", "surrogateescape")),
        ("uid", str(os.getuid())),
        ("address", address),
        ("interface", interface_of(address)),
    )
    return pack_fields(*(encoded(text) for fact in facts for text in fact))


def interface_of(address: str) -> str:
    """Return the name of the network interface that has this address; "" where none is found."""
    try:
        return _interface_of_ipv6(address) if ":" in address else _interface_of_ipv4(address)
    except (OSError, ValueError, IndexError):
        return ""


def _interface_of_ipv4(address: str) -> str:
    wanted = _socket.inet_aton(address)
    buffer = array.array("B", bytes(256 * _IFREQ_SIZE))
    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        request = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        size = struct.unpack("iP", fcntl.ioctl(probe.fileno(), _SIOCGIFCONF, request))[0]
    finally:
        probe.close()
    for start in range(0, size, _IFREQ_SIZE):
        entry = bytes(buffer[start : start + _IFREQ_SIZE])
        # 16 bytes of name, then a sockaddr_in: family, port, address.
        if entry[20:24] == wanted:
            return entry[:16].partition(b"\0")[0].decode("ascii", "replace")
    return ""


def _interface_of_ipv6(address: str) -> str:
    wanted = _socket.inet_pton(_socket.AF_INET6, address.partition("%")[0]).hex()
    with open("/proc/net/if_inet6") as file:
        for line in file:
            fields = line.split()
            if fields[0] == wanted:
                return fields[5]
    return ""
