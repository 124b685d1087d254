"""The local cluster: a Mesos master and agents on this machine, for trying and testing.

    python -m roujiamo.local --agents 2        (also `roujiamo local`, and MASTER `local:2`)

Processes, each the child of the one above it; each watches the one above by a socket and ends when that ends:

    keeper     keeper     asyncio; starts the others, and again where told so; carries what agent and master say
      master   master     asyncio; the state of `roujiamo.mesos.master` behind HTTP; one leads, others redirect to it
      agent    agent      asyncio; one for each host, in a UTS namespace with the host's name; serves its sandboxes
        executor          one for each task, one poll loop; subreaper of all that the task starts, and its killer
          the task        `sh -c COMMAND` in its sandbox

`ps -o pid,ppid,comm` shows them as `master`, `agent1` and so on, and `executor`. It trusts the machine's users as far
as they can reach its port: bound to 127.0.0.1 unless told otherwise. Not for production: no isolation of resources.
"""
