"""The one error tree, and the exit status of each branch.

Runs in every process, the shim and the proxy included: Python 3.6, nothing imported. An error's text is one
sentence for the user: what failed, where (host, file, option), what to try.

    RoujiamoError                     1
    ├── UsageError                    2    the command line or the configuration is wrong
    ├── MissingDependency             1    pymesos or psutil is not installed
    ├── AllocationError               1    the hosts could not be had
    │   └── AllocationTimeout       124    ... in time (timeout(1)'s status)
    ├── TimeLimitReached            125    the session's time was over before its program was
    ├── MasterError                   1    no master, or it refused us
    ├── LauncherError               127    no usable mpiexec
    ├── RemoteCommandError          255    roujiamo-rsh's own failures (ssh's convention, ssh(1) EXIT STATUS)
    │   ├── HostUnknown             255
    │   ├── HostLost                255
    │   └── SessionGone             255
    ├── LocalClusterError             1    the built-in cluster could not start, or has ended
    └── ProtocolError                 1    a peer of ours broke the wire's rules (never the user's fault)
        └── AuthenticationError       1    ... or could not prove who it is
"""


class RoujiamoError(Exception):
    """Root of the tree; `exit_status` is what a program that ends because of it returns."""

    exit_status = 1


class UsageError(RoujiamoError):
    """The command line or a configuration value is wrong."""

    exit_status = 2


class MissingDependency(RoujiamoError):
    """A run-time library is not installed; the text names the pip line that installs it."""


class AllocationError(RoujiamoError):
    """The hosts that were asked for cannot be had."""


class AllocationTimeout(AllocationError):
    """The hosts were not there when the user's waiting time ended."""

    exit_status = 124


class TimeLimitReached(RoujiamoError):
    """The session has lasted as long as the user allowed (--time-limit)."""

    exit_status = 125


class MasterError(RoujiamoError):
    """The Mesos master cannot be found, or it refused this framework."""


class LauncherError(RoujiamoError):
    """There is no mpiexec that could be used (127, as a shell says "command not found")."""

    exit_status = 127


class RemoteCommandError(RoujiamoError):
    """A remote command could not be started or followed. `host`: the host's own name, "" where that is not known."""

    exit_status = 255
    host = ""


class HostUnknown(RemoteCommandError):
    """The session has no such host."""


class HostLost(RemoteCommandError):
    """The host's task or its agent is gone."""


class SessionGone(RemoteCommandError):
    """There is no session, or its broker is gone."""


class LocalClusterError(RoujiamoError):
    """The built-in cluster could not be started, or has ended too early."""


class ProtocolError(RoujiamoError):
    """A peer of ours sent what the wire does not allow; the connection cannot go on."""


class AuthenticationError(ProtocolError):
    """A peer could not prove that it knows the session's secret."""
