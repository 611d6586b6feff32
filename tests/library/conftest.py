"""Fixtures: a charm with the library, and its cluster command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ops import testing

from support import META, Charm, StandIn


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The command that the charm runs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return StandIn(tmp_path)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the charm heard."""
    heard: list[str] = []
    monkeypatch.setattr(Charm, "heard", heard)
    return heard


@pytest.fixture
def ctx(command: StandIn, heard: list[str]) -> testing.Context[Charm]:
    """The charm, with its command."""
    return testing.Context(Charm, meta=META)
