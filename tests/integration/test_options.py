"""Each option and its effect."""

from pathlib import Path

import jubilant
from pytest_jubilant import JujuFactory

from helpers import (
    DISTRIBUTOR,
    MICROOVN,
    PATIENCE,
    application_data,
    deploy_distributor,
    deploy_microovn,
    one_cluster,
    relate,
    shows,
    wait_for,
    wait_for_hosts,
)


def test_a_log_level_that_is_none_blocks(juju: jubilant.Juju, charm_path: Path) -> None:
    deploy_distributor(juju, charm_path)
    juju.config(DISTRIBUTOR, {"log-level": "loud"})
    levels = "trace, debug, info, warning, error, critical"
    wait_for(juju, "blocked", f'config log-level: "loud" is none of {levels}')


def test_mirroring_goes_on_all_the_same(juju: jubilant.Juju) -> None:
    deploy_microovn(juju, units=1)
    relate(juju)
    juju.wait(lambda status: jubilant.all_active(status, MICROOVN))
    assert not shows(juju.status(), "active", "1 host"), "it is still blocked"


def test_a_good_level_unblocks(juju: jubilant.Juju) -> None:
    juju.config(DISTRIBUTOR, {"log-level": "debug"})
    wait_for_hosts(juju, 1)


def test_the_level_shortens_the_log(juju: jubilant.Juju) -> None:
    juju.config(DISTRIBUTOR, {"log-level": "critical"})
    juju.add_unit(MICROOVN)
    wait_for_hosts(juju, 2)
    log = juju.cli(
        "debug-log", "--replay", "--no-tail", "--include", f"{DISTRIBUTOR}/0", "--level", "INFO"
    )
    ours = [line for line in log.splitlines() if "juju-log" in line]
    newest = one_cluster(juju, MICROOVN)
    quiet = [host for host in newest if not any(f"mirror-{host}" in line for line in ours)]
    assert len(quiet) == 1, "only the host that came before the option was logged"


def test_an_unrelated_bootstrap_app_blocks(juju: jubilant.Juju) -> None:
    juju.config(DISTRIBUTOR, {"bootstrap-app": "nobody"})
    wait_for(
        juju,
        "blocked",
        "config bootstrap-app: nobody is not related; relate it or set another",
    )
    # Juju 4 runs no hook for this: the next update-status notices it.
    juju.config(DISTRIBUTOR, reset=["bootstrap-app", "log-level"])
    wait_for_hosts(juju, 2)


def test_bootstrap_app_decides(juju_factory: JujuFactory, charm_path: Path) -> None:
    juju = juju_factory.get_juju("decides")
    juju.wait_timeout = PATIENCE
    deploy_distributor(juju, charm_path)
    juju.config(DISTRIBUTOR, {"bootstrap-app": "second"})
    deploy_microovn(juju, "first", units=1)
    deploy_microovn(juju, "second", units=1)
    # The released consumer does not know the key, so the one that is named goes first.
    relate(juju, "second")
    wait_for_hosts(juju, 1, ["second"])
    relate(juju, "first")
    wait_for_hosts(juju, 2, ["first", "second"])
    one_cluster(juju, "first", "second")
    for app in ("first", "second"):
        assert application_data(juju, f"{app}/0")["bootstrap-app"] == "second"
