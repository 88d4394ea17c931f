"""A stand-in sky server for all whole collections."""

import pytest

from rvtool.testing.sky import sky_server


@pytest.fixture(scope="session")
def server():
    """A quick server without faults."""
    with sky_server(latency_s=(0.0, 0.005)) as running:
        yield running


@pytest.fixture
def sky(server):
    """The server, which has counted nothing yet."""
    server.reset()
    return server
