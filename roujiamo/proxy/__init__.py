"""The proxy: the Mesos task, one per host, that runs remote commands there (layer 3).

The task itself carries only `first_contact`, short (`bootstrap`); everything else arrives over the connection
that it makes (`welcome`). It becomes `init`, which outlives the `worker` long enough to kill what that left; the worker
talks to the broker (`connection`), runs remote commands (`command`) and passes on those of the shims inside the task
(`relay`).
What runs on the agent: Python 3.6, the standard library alone.
"""
