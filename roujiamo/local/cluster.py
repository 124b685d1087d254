"""A local cluster from its start to its end: what surrounds the keeper, in its process.

python -m roujiamo.local: listeners, the temporary folder, then the keeper's event loop, then nothing is left
"""

from __future__ import annotations

import asyncio
import shutil
import signal

from roujiamo.local import work_folder
from roujiamo.local.children import end_descendants
from roujiamo.local.keeper import STOP_SIGNALS, ClusterOptions, Keeper
from roujiamo.local.places import listen_all
from roujiamo.system.processes import become_subreaper


def run_cluster(options: ClusterOptions) -> None:
    """Serve until SIGINT, SIGTERM, SIGHUP or the owner's end; everything is ended and removed then.

    Raises LocalClusterError where the cluster cannot start, or lost its only master.
    """
    become_subreaper()
    masters = listen_all(options.master.host, options.port, options.masters)
    # Until the event loop takes these signals: a cluster half begun must be ended as a whole one.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    work_dir = options.work_dir or work_folder.make()
    try:
        if options.work_dir is None:
            work_folder.hold(work_dir)
        asyncio.run(Keeper(options, work_dir, masters).run())
    finally:
        end_descendants(0.0)
        if options.work_dir is None:
            shutil.rmtree(work_dir, ignore_errors=True)
