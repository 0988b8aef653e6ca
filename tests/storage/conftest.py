"""The storages that studies are tried on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from server import HOW_TO_GET_IT, Server, programs, running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    found = programs()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    with running(found) as server:
        yield server
