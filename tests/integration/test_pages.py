"""The commands of the documents, with the options that they have there."""

from pathlib import Path

import jubilant
import pytest

from helpers import (
    DISTRIBUTOR,
    MICROOVN,
    MICROOVN_CHANNEL,
    deploy_microovn,
    hostname,
    leader,
    members,
    relate,
    shell,
    wait_for_hosts,
)


def newest(juju: jubilant.Juju, app: str = MICROOVN) -> str:
    return max(juju.status().get_units(app), key=lambda unit: int(unit.rsplit("/", 1)[1]))


@pytest.fixture
def member(juju: jubilant.Juju) -> str:
    """A unit that stays."""
    return min(juju.status().get_units(MICROOVN), key=lambda unit: int(unit.rsplit("/", 1)[1]))


def test_a_model_comes_and_goes(juju: jubilant.Juju) -> None:
    name = f"{(juju.model or 'pages').rsplit(':', 1)[-1]}-first"
    shell(
        juju,
        f"""
        juju add-model {name} --no-switch
        juju set-model-constraints -m {name} virt-type=virtual-machine mem=2G
        juju destroy-model {name} --no-prompt
        """,
    )


def test_a_cluster_forms(juju: jubilant.Juju, charm_path: Path) -> None:
    shell(
        juju,
        f"""
        juju deploy {charm_path} -n 2 --constraints "arch=amd64 cores=1 mem=1G root-disk=8G"
        juju deploy microovn -n 3 --channel {MICROOVN_CHANNEL}
        juju integrate microovn:cluster microcluster-token-distributor:microcluster-cluster
        juju wait-for application microovn --query='status=="active"' --timeout 20m
        """,
    )
    wait_for_hosts(juju, 3)


def test_it_is_watched(juju: jubilant.Juju) -> None:
    shown = shell(
        juju,
        """
        juju status --watch 5s & sleep 12; kill $!
        juju status microcluster-token-distributor --relations
        """,
    )
    assert DISTRIBUTOR in shown
    quiet = shell(
        juju,
        """
        juju status microcluster-token-distributor --format json | jq -r '
            .applications["microcluster-token-distributor"].units | to_entries[]
            | select(.value["workload-status"].current != "active") | .key'
        juju run microcluster-token-distributor/leader check --format json \\
            | jq --exit-status 'all(.[]; .results.findings == "0")' > /dev/null
        """,
    )
    assert quiet == ""


def test_hosts_and_members_are_listed(juju: jubilant.Juju, member: str) -> None:
    host = hostname(juju, member)
    shown = shell(
        juju,
        f"""
        juju run microcluster-token-distributor/leader show-mirror
        juju run microcluster-token-distributor/leader show-mirror host={host}
        juju exec --unit {member} -- microovn cluster list
        juju exec --unit {member} -- microovn cluster list -f compact
        juju exec --unit {member} -- \\
            grep -rE "^LIB(API|PATCH)" lib/charms/microcluster_token_distributor
        juju show-unit {leader(juju)} --endpoint cluster
        """,
    )
    assert "LIBAPI" in shown
    assert host in shown


def test_the_log_has_its_level(juju: jubilant.Juju) -> None:
    log = shell(
        juju,
        f"""
        juju config microcluster-token-distributor log-level=debug
        juju config microcluster-token-distributor --reset log-level
        juju model-config logging-config="<root>=INFO;unit.{leader(juju)}=DEBUG"
        juju debug-log --include {leader(juju)} --level INFO --replay --no-tail
        """,
    )
    assert "mirror-" in log


def test_plan_says_go_before_a_refresh(
    juju: jubilant.Juju, charm_path: Path, tmp_path: Path
) -> None:
    answer = shell(
        juju,
        f"""
        juju status microcluster-token-distributor microovn --format json | jq -r '
            .applications[].units | select(.) | to_entries | max_by(.value.leader == true).key
            ' | xargs juju show-unit > units.yaml
        unzip -p {charm_path} bin/microcluster-token-distributor > distributor
        chmod +x distributor
        ./distributor plan units.yaml
        juju show-unit {leader(juju)} {leader(juju, MICROOVN)} > units.yaml
        ./distributor plan units.yaml
        """,
        tmp_path,
    )
    assert answer.count("go: no host waits, and every token stays") == 2
    shell(juju, f"juju refresh microcluster-token-distributor --path {charm_path}")
    wait_for_hosts(juju, 3)


def test_it_grows(juju: jubilant.Juju, member: str) -> None:
    shell(
        juju,
        """
        juju add-unit microovn -n 2
        juju add-unit microcluster-token-distributor -n 2
        juju add-machine
        """,
    )
    machine = max(juju.status().machines, key=int)
    shell(juju, f"juju add-unit microovn --to {machine}")
    wait_for_hosts(juju, 6)
    assert len(members(juju, member)) == 6


def test_units_leave(juju: jubilant.Juju, member: str) -> None:
    gone = newest(juju)
    shell(
        juju,
        f"""
        juju remove-unit {gone} --no-prompt
        juju remove-unit {newest(juju, DISTRIBUTOR)} --no-prompt
        """,
    )
    juju.wait(lambda status: gone not in status.get_units(MICROOVN))
    juju.wait(jubilant.all_agents_idle)
    assert len(members(juju, member)) == 5


def test_a_dead_member_is_removed(juju: jubilant.Juju, member: str) -> None:
    dead = newest(juju)
    host = hostname(juju, dead)
    shell(
        juju,
        f"""
        juju exec --unit {dead} -- snap remove --purge microovn
        juju remove-unit {dead} --force --no-prompt
        """,
    )
    juju.wait(lambda status: dead not in status.get_units(MICROOVN))
    shell(
        juju,
        f"""
        if juju exec --unit {member} -- microovn cluster list | grep --quiet {host}
        then
            juju exec --unit {member} -- microovn cluster remove {host} --force
        fi
        juju run microcluster-token-distributor/leader retire-host host={host}
        """,
    )
    assert host not in members(juju, member)


def test_an_operator_decides(juju: jubilant.Juju, member: str) -> None:
    shell(
        juju,
        f"""
        juju run microcluster-token-distributor/leader resolve-host \\
            host={hostname(juju, member)} member=true
        juju run microcluster-token-distributor/leader resync
        """,
    )


def test_a_collector_is_related(juju: jubilant.Juju) -> None:
    shell(
        juju,
        """
        juju deploy opentelemetry-collector --channel 2/stable
        juju integrate opentelemetry-collector:juju-info microcluster-token-distributor:juju-info
        juju remove-application opentelemetry-collector --no-prompt --force
        """,
    )


def test_the_distributor_is_replaced(juju: jubilant.Juju, charm_path: Path, member: str) -> None:
    before = members(juju, member)
    machine = juju.status().get_units(MICROOVN)[member].machine
    shell(juju, "juju remove-application microcluster-token-distributor --no-prompt")
    juju.wait(lambda status: DISTRIBUTOR not in status.apps)
    shell(
        juju,
        f"""
        juju deploy {charm_path} --to {machine} --config bootstrap-app=microovn
        juju integrate microovn:cluster microcluster-token-distributor:microcluster-cluster
        juju config microcluster-token-distributor bootstrap-app=microovn
        """,
    )
    wait_for_hosts(juju, len(before))
    assert members(juju, member) == before


def test_a_lost_cluster_is_forgotten(juju: jubilant.Juju) -> None:
    shell(juju, "juju remove-application microovn --no-prompt --force")
    juju.wait(lambda status: MICROOVN not in status.apps)
    shell(juju, "juju run microcluster-token-distributor/leader forget")
    deploy_microovn(juju, units=1)
    relate(juju)
    wait_for_hosts(juju, 1)
