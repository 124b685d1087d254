"""Asking hosts: each answers for itself, whatever it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from roujiamo.dialects import AGENT
from roujiamo.run import asking


def test_two_hosts_of_one_name_both_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their aliases tell them apart."""
    shim = tmp_path / AGENT
    shim.write_text('#!/bin/sh\necho "$2 $3"\n')
    shim.chmod(0o755)
    monkeypatch.setattr(asking, "shim_folder", lambda: str(tmp_path))
    hosts = [{"name": "node", "alias": "host1"}, {"name": "node", "alias": "host2"}]
    assert asking.ask(hosts, "/s", "look", 20) == {"host1": "host1 look\n", "host2": "host2 look\n"}
