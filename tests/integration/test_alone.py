"""The distributor without anybody to serve."""

from pathlib import Path

import jubilant

from helpers import DISTRIBUTOR, deploy_distributor, juju_version, leader, wait_for


def test_it_is_active_alone(juju: jubilant.Juju, charm_path: Path) -> None:
    deploy_distributor(juju, charm_path)
    wait_for(juju, "active", "no microcluster related")


def test_versions_are_shown(juju: jubilant.Juju) -> None:
    app = juju.status().apps[DISTRIBUTOR]
    assert app.version, "the workload version"
    # Juju 4 loses the version of a charm that is uploaded.
    if juju_version(juju) < 4:
        assert app.charm_version not in ("", "unknown"), "the commit"


def test_a_second_unit_is_standby(juju: jubilant.Juju) -> None:
    first = leader(juju)
    juju.add_unit(DISTRIBUTOR)
    status = wait_for(
        juju,
        "active",
        "no microcluster related",
        lambda status: len(status.get_units(DISTRIBUTOR)) == 2,
        lambda status: jubilant.all_agents_idle(status, DISTRIBUTOR),
    )
    for name, unit in status.get_units(DISTRIBUTOR).items():
        expected = "no microcluster related" if name == first else "standby"
        assert unit.workload_status.message == expected, name
