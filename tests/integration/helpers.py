"""What the tests say again and again."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jubilant

DISTRIBUTOR = "microcluster-token-distributor"
MICROOVN = "microovn"
# What upstream's own tests deploy beside the distributor.
MICROOVN_CHANNEL = "latest/edge"

# What the charm writes itself in place of a value.
CONSTANTS = ("empty", "member", "retired")

# How long machines may take to come up and clusters to form, in seconds.
PATIENCE = 20 * 60


def deploy_distributor(juju: jubilant.Juju, charm: Path, units: int = 1) -> None:
    juju.deploy(charm, app=DISTRIBUTOR, num_units=units)


def deploy_microovn(juju: jubilant.Juju, app: str = MICROOVN, units: int = 3) -> None:
    juju.deploy(MICROOVN, app=app, channel=MICROOVN_CHANNEL, num_units=units)


def relate(juju: jubilant.Juju, app: str = MICROOVN) -> None:
    juju.integrate(f"{app}:cluster", f"{DISTRIBUTOR}:microcluster-cluster")


def shell(juju: jubilant.Juju, lines: str, folder: Path | None = None) -> str:
    """Runs lines of shell in the model of the test, as the documents have them.

    A test of the documents looks for each of their commands in these lines.
    """
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=os.environ | {"JUJU_MODEL": juju.model or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{lines}: {run.stderr}"
    return run.stdout


def shows(status: jubilant.Status, workload: str, message: str) -> bool:
    """Whether the distributor's leader shows this status."""
    for unit in status.get_units(DISTRIBUTOR).values():
        if unit.leader:
            shown = unit.workload_status
            return (shown.current, shown.message) == (workload, message)
    return False


def wait_for(
    juju: jubilant.Juju,
    workload: str,
    message: str,
    *others: Callable[[jubilant.Status], bool],
) -> jubilant.Status:
    """Waits for a status of the distributor's leader, and for more conditions."""
    return juju.wait(
        lambda status: (
            shows(status, workload, message) and all(condition(status) for condition in others)
        )
    )


def wait_for_hosts(juju: jubilant.Juju, hosts: int, apps: Iterable[str] = (MICROOVN,)) -> None:
    """Waits until all hosts have a token and all units of `apps` are content."""
    apps = tuple(apps)
    juju.wait(
        lambda status: (
            shows(status, "active", "1 host" if hosts == 1 else f"{hosts} hosts")
            and jubilant.all_active(status, *apps)
            and jubilant.all_agents_idle(status)
        )
    )


def leader(juju: jubilant.Juju, app: str = DISTRIBUTOR) -> str:
    for name, unit in juju.status().get_units(app).items():
        if unit.leader:
            return name
    raise AssertionError(f"{app} has no leader")


def members(juju: jubilant.Juju, unit: str) -> set[str]:
    """The cluster's members, as one of them sees it."""
    listed = json.loads(juju.exec("microovn cluster list -f json", unit=unit).stdout)
    return {member["name"] for member in listed}


def hostname(juju: jubilant.Juju, unit: str) -> str:
    return juju.exec("uname -n", unit=unit).stdout.strip()


def one_cluster(juju: jubilant.Juju, *apps: str) -> set[str]:
    """Checks that all units of `apps` are in one cluster, as each of them sees it."""
    units = [unit for app in apps for unit in juju.status().get_units(app)]
    hosts = {hostname(juju, unit) for unit in units}
    for unit in units:
        assert members(juju, unit) == hosts, f"the cluster as {unit} sees it"
    return hosts


def communicator(juju: jubilant.Juju, app: str = MICROOVN) -> str:
    """The unit that mints: the first name among the voters that are online."""
    units = juju.status().get_units(app)
    listed = json.loads(juju.exec("microovn cluster list -f json", unit=next(iter(units))).stdout)
    first = min(
        member["name"]
        for member in listed
        if member["role"] == "voter" and member["status"] == "ONLINE"
    )
    for unit in units:
        if hostname(juju, unit) == first:
            return unit
    raise AssertionError(f"no unit of {app} is {first}")


def juju_version(juju: jubilant.Juju) -> int:
    """The major version of the controller's model."""
    return int(juju.status().model.version.split(".")[0])


def application_data(juju: jubilant.Juju, unit: str) -> dict[str, str]:
    """The distributor's application databag, as a consumer's unit reads it.

    Not from `show-unit`: since Juju 4 its `application-data` is the bag of the unit's own side.
    """
    read = f'relation-get --app --format=json -r "$(relation-ids cluster)" - {DISTRIBUTOR}'
    data: dict[str, str] = json.loads(juju.exec(read, unit=unit).stdout)
    return data


def mirror(juju: jubilant.Juju, app: str = MICROOVN) -> dict[str, str]:
    """The mirror as consumers see it. Compared, never printed."""
    unit = next(iter(juju.status().get_units(app)))
    shown: dict[str, Any] = json.loads(juju.cli("show-unit", unit, "--format", "json"))[unit]
    mirrored: dict[str, str] = {}
    for relation in shown["relation-info"]:
        for name, related in relation.get("related-units", {}).items():
            data = related.get("data", {})
            if name.startswith(f"{DISTRIBUTOR}/") and data.get("mirror") == "up":
                mirrored |= {key: data[key] for key in data if key.startswith("mirror-")}
    return mirrored


def tokens(juju: jubilant.Juju, app: str = MICROOVN) -> list[str]:
    """The values in the mirror that are secrets."""
    return [value for value in mirror(juju, app).values() if value not in CONSTANTS]


def keeps(before: dict[str, str], after: dict[str, str]) -> bool:
    """Whether no value was lost or replaced. A token that its host has used becomes `member`."""
    return all(after.get(key) in (value, "member") for key, value in before.items())


def action(juju: jubilant.Juju, name: str, unit: str | None = None, **params: object) -> Any:
    """The result of an action of the distributor, for scripts."""
    task = juju.run(unit or f"{DISTRIBUTOR}/leader", name, params)
    return json.loads(task.results["json"])
