"""What the shim's tests run with: a server to talk to, and this Python as well as 3.6."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.shim.session import serving
from tests.support import python36, requires_python36


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that lives as long as the module's tests."""
    address = str(tmp_path_factory.mktemp("session") / "socket")
    with serving(address):
        yield address


@pytest.fixture(params=["this", pytest.param("3.6", marks=requires_python36)])
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter for the shim: the one of the tests, and the oldest that an agent may have."""
    return sys.executable if request.param == "this" else str(python36())
