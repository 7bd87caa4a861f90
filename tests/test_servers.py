"""What the tests' own servers are built on."""

from tests.servers import free_port


def test_no_port_is_given_twice():
    assert len({free_port() for _ in range(500)}) == 500
