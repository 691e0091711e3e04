"""What tests of many steps need."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes are not checked: with tens of thousands of steps, checking takes most of the time."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
