"""The states that end a task. Pure; used by the broker and by the local master."""

# TaskState in mesos/v1/mesos.proto; TASK_UNREACHABLE is not among them: such a task may come back.
TERMINAL_STATES = frozenset(
    (
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_LOST",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
    )
)
