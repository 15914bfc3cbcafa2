"""Each test runs in every layer that stands here; one that doesn't is skipped, and the reason is printed."""

import pytest

from superalign.sandbox import Isolation, standing


@pytest.fixture(scope="session", params=["bwrap", "landlock"])
def layer(request):
    """One layer of isolation."""
    for found in standing():
        if found.name == request.param:
            if isinstance(found, Isolation):
                return found
            pytest.skip(f"{found.name} does not stand here: {found.why}; {found.do}")
    raise AssertionError(request.param)


@pytest.fixture(scope="session")
def matrix():
    """Every attempt, in every layer that stands, and outside: tried once."""
    from superalign.sandbox.selftest import selftest

    stand = [found for found in standing() if isinstance(found, Isolation)]
    if not stand:
        pytest.skip("; ".join(f"{found.name}: {found.why}; {found.do}" for found in standing()))
    return list(selftest(stand))
