"""Two applications, one cluster."""

from pathlib import Path

import jubilant

from helpers import (
    MICROOVN,
    deploy_distributor,
    deploy_microovn,
    one_cluster,
    relate,
    wait_for_hosts,
)

SECOND = "microovn-second"
EMPTY = "microovn-empty"


def test_an_application_without_units_is_passed_over(juju: jubilant.Juju, charm_path: Path) -> None:
    deploy_distributor(juju, charm_path)
    deploy_microovn(juju, EMPTY, units=1)
    juju.remove_unit(f"{EMPTY}/0")
    juju.wait(lambda status: not status.get_units(EMPTY))
    relate(juju, EMPTY)
    deploy_microovn(juju, units=2)
    relate(juju)
    wait_for_hosts(juju, 2)
    one_cluster(juju, MICROOVN)


def test_a_second_application_joins_the_first(juju: jubilant.Juju) -> None:
    # One after the other: the released consumer does not know bootstrap-app.
    deploy_microovn(juju, SECOND, units=2)
    relate(juju, SECOND)
    wait_for_hosts(juju, 4, [MICROOVN, SECOND])
    one_cluster(juju, MICROOVN, SECOND)


def test_both_grow(juju: jubilant.Juju) -> None:
    juju.add_unit(MICROOVN)
    juju.add_unit(SECOND)
    wait_for_hosts(juju, 6, [MICROOVN, SECOND])
    one_cluster(juju, MICROOVN, SECOND)
