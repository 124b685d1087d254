"""FrameworkInfo: who we are to the master."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.mesos.framework_info import framework_info


def test_a_first_subscription():
    """Each field is one that a real 1.11 acts on; there is no webui_url, as there is nothing to show."""
    assert framework_info("roujiamo a.out", "alice", roles=["hpc"]) == {
        "name": "roujiamo a.out",
        "user": "alice",
        "roles": ["hpc"],
        "failover_timeout": 60.0,
        "checkpoint": True,
        "capabilities": [
            {"type": "MULTI_ROLE"},
            {"type": "PARTITION_AWARE"},
            {"type": "TASK_KILLING_STATE"},
            {"type": "RESERVATION_REFINEMENT"},
        ],
    }


def test_a_later_one_carries_the_id():
    """With it the master keeps the tasks."""
    info = framework_info(
        "n",
        "u",
        principal="hpc",
        hostname="login1",
        labels={"session": "s1"},
        framework_id="M-0001",
        wants_gpus=True,
    )
    assert info["id"] == {"value": "M-0001"}
    assert (info["principal"], info["hostname"]) == ("hpc", "login1")
    assert info["labels"] == {"labels": [{"key": "session", "value": "s1"}]}
    assert {"type": "GPU_RESOURCES"} in info["capabilities"]


@pytest.mark.parametrize("role", ["", ".", "..", "-a", "a b", "a/", "/a", "a//b", "a/../b", "a/*", "a\tb"])
def test_a_role_that_mesos_refuses_is_named(role):
    """The master's own answer is a 200 and an ERROR event."""
    with pytest.raises(UsageError, match="is not a role"):
        framework_info("n", "u", roles=[role])


@pytest.mark.parametrize("role", ["*", "hpc", "eng/hpc", "a.b-c_d"])
def test_a_role_that_mesos_takes_is_taken(role):
    """Hierarchical ones too."""
    assert framework_info("n", "u", roles=[role])["roles"] == [role]
