"""Units are lost: of the distributor, of the cluster, of both."""

from pathlib import Path

import jubilant

from helpers import (
    DISTRIBUTOR,
    MICROOVN,
    communicator,
    deploy_distributor,
    deploy_microovn,
    keeps,
    leader,
    members,
    mirror,
    relate,
    wait_for_hosts,
)


def lose(juju: jubilant.Juju, *units: str) -> None:
    juju.remove_unit(*units, force=True)
    juju.wait(
        lambda status: not any(unit in status.get_units(unit.rsplit("/", 1)[0]) for unit in units)
    )


def living(juju: jubilant.Juju) -> str:
    return next(iter(juju.status().get_units(MICROOVN)))


def test_a_cluster_forms_with_three_distributors(juju: jubilant.Juju, charm_path: Path) -> None:
    deploy_distributor(juju, charm_path, units=3)
    deploy_microovn(juju, units=4)
    relate(juju)
    wait_for_hosts(juju, 4)


def test_a_standby_takes_over(juju: jubilant.Juju) -> None:
    before = mirror(juju)
    lose(juju, leader(juju))
    wait_for_hosts(juju, 4)
    assert keeps(before, mirror(juju)), "a value that was mirrored changed"


def test_nothing_is_lost_with_all_distributors(juju: jubilant.Juju) -> None:
    before = mirror(juju)
    lose(juju, *juju.status().get_units(DISTRIBUTOR))
    juju.add_unit(DISTRIBUTOR)
    wait_for_hosts(juju, 4)
    assert keeps(before, mirror(juju)), "a value that was mirrored changed"


def test_another_communicator_takes_over(juju: jubilant.Juju) -> None:
    lose(juju, communicator(juju))
    juju.add_unit(MICROOVN)
    wait_for_hosts(juju, 5)
    newest = max(juju.status().get_units(MICROOVN), key=lambda unit: int(unit.rsplit("/", 1)[1]))
    assert members(juju, newest) == members(juju, living(juju))


def test_nothing_is_lost_with_all_of_them(juju: jubilant.Juju) -> None:
    before = mirror(juju)
    lose(juju, communicator(juju), *juju.status().get_units(DISTRIBUTOR))
    juju.add_unit(DISTRIBUTOR)
    juju.add_unit(MICROOVN)
    wait_for_hosts(juju, 6)
    assert keeps(before, mirror(juju)), "a value that was mirrored changed"
