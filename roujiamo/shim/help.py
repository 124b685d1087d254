"""What `roujiamo-rsh --help` and `--version` print. Runs in the shim, and loads only when asked for."""

from roujiamo import __version__

VERSION_TEXT = "roujiamo-rsh %s\n" % __version__

HELP_TEXT = """\
usage: roujiamo-rsh [ssh's options] [user@]HOST COMMAND [ARGUMENT...]

Runs COMMAND, through `sh -c`, on a host of the current roujiamo session: in
the Mesos task that holds the session's share of that host. MPI launchers use it
in the place of ssh or rsh.

It behaves as ssh does: the words of COMMAND are joined by blanks, stdin is
passed on until its end, stdout and stderr stay apart, and HOST may be
ssh://user@host:port. The signals INT, TERM, HUP, QUIT, USR1 and USR2 go to the
command; a second INT or TERM within 2 seconds ends roujiamo-rsh, and with it
the command. Started by an MPI launcher, it ends with that launcher.

options:
  -n          stdin is empty
  -f          go to the background as soon as the command runs; implies -n
  -v          say on stderr what happens
  -q          undo -v
  -V, --version
  --help
  Those of ssh's options that have no meaning here are passed over, with their
  values; -v names them. There is no terminal (-t) and no login shell.

environment:
  ROUJIAMO_SOCKET   the session (set by `roujiamo run`)
  ROUJIAMO_MASTER   a Mesos master, where ROUJIAMO_SOCKET is not set: the hosts
                    that this MPI launcher names are had from it one by one, or
                    by hand the one host of this command. ROUJIAMO_CPUS and the
                    like, as for `roujiamo run`, say how much of each;
                    ROUJIAMO_SLOTS for how many processes, where the launcher's
                    command line does not
  ROUJIAMO_TOKEN    what proves that this process belongs to it, inside a task
  ROUJIAMO_TIMEOUT  seconds to wait until the host is ready (default 600)
  ROUJIAMO_PYTHON   the Python, 3.6 or newer, to run with

exit status:
  the command's; 128 + n where signal n ended it, or roujiamo-rsh; 141 where
  stdout's reader went away; 255, with one sentence on stderr, where
  roujiamo-rsh itself failed.
"""
