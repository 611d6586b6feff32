"""Fixtures of the tests on a real controller. `juju` is pytest-jubilant's: one model per module."""

import os
from pathlib import Path

import jubilant
import pytest

from helpers import PATIENCE

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def charm_path() -> Path:
    """The packed charm; these tests do not pack."""
    for variable in ("CHARM_PATH", "TOKEN_DISTRIBUTOR_CHARM_PATH"):
        if path := os.environ.get(variable):
            return Path(path).resolve(strict=True)
    match sorted(REPOSITORY.glob("*.charm")):
        case [only]:
            return only
        case several:
            pytest.fail(f"set CHARM_PATH: there are {len(several)} charms in {REPOSITORY}")


@pytest.fixture(scope="module", autouse=True)
def _model(juju: jubilant.Juju) -> None:
    juju.wait_timeout = PATIENCE
    # What these tests wait for may come with update-status.
    juju.model_config({"update-status-hook-interval": "1m"})
