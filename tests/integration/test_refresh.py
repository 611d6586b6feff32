"""In place from the published Python charm, and back to it."""

from pathlib import Path

import jubilant
import pytest

from helpers import (
    DISTRIBUTOR,
    MICROOVN,
    deploy_microovn,
    keeps,
    mirror,
    one_cluster,
    relate,
    shell,
    wait_for_hosts,
)

# The Python charm, in the channel that Sunbeam deploys from.
PUBLISHED = "v1/stable"


@pytest.fixture(scope="module")
def before(juju: jubilant.Juju) -> dict[str, str]:
    """The mirror as the Python charm left it."""
    return mirror(juju)


def test_the_published_charm_forms_a_cluster(juju: jubilant.Juju) -> None:
    juju.deploy(DISTRIBUTOR, channel=PUBLISHED, base="ubuntu@24.04")
    deploy_microovn(juju)
    relate(juju)
    juju.wait(
        lambda status: (
            jubilant.all_active(status)
            and jubilant.all_agents_idle(status)
            and len(status.get_units(MICROOVN)) == 3
        )
    )
    one_cluster(juju, MICROOVN)


def test_a_refresh_keeps_every_value(
    juju: jubilant.Juju, before: dict[str, str], charm_path: Path
) -> None:
    juju.refresh(DISTRIBUTOR, path=charm_path)
    wait_for_hosts(juju, 3)
    assert keeps(before, mirror(juju)), "a value that was mirrored changed"


def test_it_grows_after_the_refresh(juju: jubilant.Juju) -> None:
    juju.add_unit(MICROOVN)
    wait_for_hosts(juju, 4)
    one_cluster(juju, MICROOVN)


def test_the_way_back_keeps_every_value(juju: jubilant.Juju) -> None:
    held = mirror(juju)
    # Juju refuses to switch from a local charm to the same name on Charmhub without saying so.
    shell(
        juju,
        f"""
        juju refresh microcluster-token-distributor \\
            --switch microcluster-token-distributor --channel {PUBLISHED}
        """,
    )
    juju.wait(
        lambda status: (
            not status.apps[DISTRIBUTOR].charm.startswith("local:")
            and jubilant.all_agents_idle(status)
        )
    )
    assert keeps(held, mirror(juju)), "a value that was mirrored changed"


def test_it_grows_after_the_way_back(juju: jubilant.Juju) -> None:
    juju.add_unit(MICROOVN)
    juju.wait(
        lambda status: (
            jubilant.all_active(status)
            and jubilant.all_agents_idle(status)
            and len(status.get_units(MICROOVN)) == 5
        )
    )
    one_cluster(juju, MICROOVN)
