"""What the tests of the gateway share."""

import pytest


@pytest.fixture(autouse=True)
def _certificates_are_not_read(without_certificates: None) -> None:
    """By none of the many clients."""
