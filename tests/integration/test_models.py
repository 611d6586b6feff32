"""A consumer in another model."""

from pathlib import Path

import jubilant
import pytest
from pytest_jubilant import JujuFactory

from helpers import DISTRIBUTOR, PATIENCE, deploy_distributor, deploy_microovn, shell, shows


@pytest.fixture(scope="module")
def elsewhere(juju_factory: JujuFactory) -> jubilant.Juju:
    juju = juju_factory.get_juju("elsewhere")
    juju.wait_timeout = PATIENCE
    return juju


def test_an_application_of_another_model_forms_the_cluster(
    juju: jubilant.Juju, elsewhere: jubilant.Juju, charm_path: Path
) -> None:
    deploy_distributor(juju, charm_path)
    deploy_microovn(elsewhere, units=2)
    shell(
        juju,
        """
        juju offer microcluster-token-distributor:microcluster-cluster tokens
        juju config microcluster-token-distributor bootstrap-app=microovn
        """,
    )
    model = str(juju.model).rsplit(":", 1)[-1]
    shell(elsewhere, f"juju integrate microovn:cluster admin/{model}.tokens")
    elsewhere.wait(jubilant.all_active)
    juju.wait(lambda status: shows(status, "active", "2 hosts"))
    shown = juju.run(f"{DISTRIBUTOR}/leader", "show-mirror").results
    assert shown["bootstrap-app"] == "microovn"
