"""One application of MicroOVN."""

from pathlib import Path

import jubilant

from helpers import (
    MICROOVN,
    deploy_distributor,
    deploy_microovn,
    hostname,
    keeps,
    mirror,
    one_cluster,
    relate,
    tokens,
    wait_for_hosts,
)


def test_a_cluster_forms(juju: jubilant.Juju, charm_path: Path) -> None:
    deploy_distributor(juju, charm_path)
    deploy_microovn(juju)
    relate(juju)
    wait_for_hosts(juju, 3)
    one_cluster(juju, MICROOVN)


def test_it_grows(juju: jubilant.Juju) -> None:
    before = mirror(juju)
    juju.add_unit(MICROOVN)
    wait_for_hosts(juju, 4)
    one_cluster(juju, MICROOVN)
    assert keeps(before, mirror(juju)), "a value that was mirrored changed"


def test_it_shrinks_and_keeps_the_value(juju: jubilant.Juju) -> None:
    gone = f"{MICROOVN}/3"
    key = f"mirror-{hostname(juju, gone)}"
    before = {key: mirror(juju)[key]}
    juju.remove_unit(gone)
    juju.wait(lambda status: gone not in status.get_units(MICROOVN))
    wait_for_hosts(juju, 4)
    one_cluster(juju, MICROOVN)
    assert keeps(before, mirror(juju)), "a value that was mirrored changed"


def test_no_token_is_logged(juju: jubilant.Juju) -> None:
    log = juju.cli("debug-log", "--replay", "--no-tail", "--level", "TRACE")
    ours = [line for line in log.splitlines() if "microcluster-token-distributor" in line]
    for token in tokens(juju):
        assert not any(token in line for line in ours), "a token is in the log"
