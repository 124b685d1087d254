"""The masters `local` and `local:N`: how many agents they have."""

import pytest

from roujiamo.errors import UsageError
from roujiamo.session.local_master import agent_count


def test_a_local_cluster_has_as_many_agents_as_are_named_or_wanted() -> None:
    """At least two where no number is named."""
    assert [agent_count(*each) for each in (("local", 1), ("local", 5), ("local:1", 5), ("local:1000", 1))] == [
        2, 5, 1, 1000
    ]  # fmt: skip


@pytest.mark.parametrize("count", ["²", "٣", "0", "1001", "-1", "1.5", "x", "9" * 5000])
def test_what_is_no_such_number_is_refused(count: str) -> None:
    """In a sentence, whatever Unicode takes for a digit."""
    with pytest.raises(UsageError, match="from 1 to 1000"):
        agent_count(f"local:{count}", 1)
