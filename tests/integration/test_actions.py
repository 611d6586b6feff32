"""Each action, on the leader and on a standby."""

from pathlib import Path

import jubilant
import pytest

from helpers import (
    DISTRIBUTOR,
    MICROOVN,
    action,
    deploy_distributor,
    deploy_microovn,
    hostname,
    keeps,
    leader,
    mirror,
    one_cluster,
    relate,
    tokens,
    wait_for_hosts,
)


@pytest.fixture(scope="module")
def standby(juju: jubilant.Juju) -> str:
    first = leader(juju)
    return next(unit for unit in juju.status().get_units(DISTRIBUTOR) if unit != first)


def test_a_cluster_forms(juju: jubilant.Juju, charm_path: Path) -> None:
    deploy_distributor(juju, charm_path, units=2)
    deploy_microovn(juju)
    relate(juju)
    wait_for_hosts(juju, 3)


def test_show_mirror_shows_every_host_and_hides_values(juju: jubilant.Juju) -> None:
    shown = action(juju, "show-mirror")
    assert {host["host"] for host in shown["hosts"]} == one_cluster(juju, MICROOVN)
    assert not any(token in str(shown) for token in tokens(juju))


def test_show_mirror_reveals_one_value(juju: jubilant.Juju) -> None:
    host = hostname(juju, f"{MICROOVN}/0")
    task = juju.run(f"{DISTRIBUTOR}/leader", "show-mirror", {"host": host, "reveal": True})
    assert mirror(juju)[f"mirror-{host}"] in str(task.results)


def test_show_mirror_works_on_a_standby(juju: jubilant.Juju, standby: str) -> None:
    shown = action(juju, "show-mirror", standby)
    assert {host["host"] for host in shown["hosts"]} == one_cluster(juju, MICROOVN)


def test_check_finds_nothing_wrong(juju: jubilant.Juju) -> None:
    assert action(juju, "check")["findings"] == []


def test_resync_changes_nothing(juju: jubilant.Juju) -> None:
    before = mirror(juju)
    action(juju, "resync")
    juju.wait(jubilant.all_agents_idle)
    after = mirror(juju)
    assert after.keys() == before.keys()
    assert keeps(before, after), "a value that was mirrored changed"


def test_a_living_host_is_not_retired(juju: jubilant.Juju) -> None:
    host = hostname(juju, f"{MICROOVN}/0")
    with pytest.raises(jubilant.TaskError):
        juju.run(f"{DISTRIBUTOR}/leader", "retire-host", {"host": host})


def test_a_standby_retires_no_host(juju: jubilant.Juju, standby: str) -> None:
    with pytest.raises(jubilant.TaskError):
        juju.run(standby, "retire-host", {"host": "anybody"})


def test_a_host_that_left_is_retired_for_good(juju: jubilant.Juju) -> None:
    unit = f"{MICROOVN}/2"
    host = hostname(juju, unit)
    juju.remove_unit(unit)
    juju.wait(lambda status: unit not in status.get_units(MICROOVN))
    juju.wait(jubilant.all_agents_idle)
    action(juju, "retire-host", host=host)
    action(juju, "resync")
    juju.wait(jubilant.all_agents_idle)
    assert mirror(juju)[f"mirror-{host}"] == "retired"


def test_an_unknown_parameter_is_refused(juju: jubilant.Juju) -> None:
    # Juju 3 refuses the call, Juju 4 accepts it and fails the task.
    with pytest.raises((jubilant.CLIError, jubilant.TaskError)):
        juju.run(f"{DISTRIBUTOR}/leader", "check", {"nonsense": True})
