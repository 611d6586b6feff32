"""What real cluster commands do, and what they do wrong."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microcluster_token_consumer import (
    ClusterCommand,
    CommandFailed,
    CommandHung,
    Member,
)
from support import TOKEN, StandIn, member

CLUSTER = ClusterCommand(("stand-in",), short_limit=60, long_limit=60)


def test_command_lines(command: StandIn) -> None:
    command.lists(member("h1")).prints("add", f"{TOKEN}\n")
    for deed in ("bootstrap", "join", "remove"):
        command.on(deed, "exit 0")
    CLUSTER.list()
    CLUSTER.bootstrap()
    CLUSTER.bootstrap(["--a", "b"])
    CLUSTER.join(TOKEN)
    CLUSTER.join(TOKEN, ["--a", "b"])
    assert CLUSTER.add("h2") == TOKEN
    CLUSTER.remove("h2")
    CLUSTER.remove("h2", force=True)
    assert command.calls == [
        "list -f json",
        "bootstrap",
        "bootstrap --a b",
        f"join {TOKEN}",
        f"join {TOKEN} --a b",
        "add h2",
        "remove h2",
        "remove h2 --force",
    ]


def test_another_program_fits_by_its_arguments(command: StandIn) -> None:
    command.prints("cluster", '[{"server_name": "h1", "roles": ["database"], "status": "Online"}]')

    def read(text: str) -> tuple[Member, ...]:
        return tuple(
            Member(it["server_name"], "voter", it["status"].upper()) for it in json.loads(text)
        )

    lxd = ClusterCommand(
        ["stand-in"],
        list_arguments=("cluster", "list", "--format=json"),
        bootstrap_arguments=("cluster", "enable"),
        join_arguments=("cluster", "join", "--token"),
        add_arguments=("cluster", "add", "--quiet"),
        remove_arguments=("cluster", "remove", "--yes"),
        read_members=read,
    )
    assert lxd.list() == (Member("h1", "voter", "ONLINE"),)
    lxd.bootstrap(["h1"])
    lxd.join(TOKEN)
    lxd.remove("h2")
    command.prints("cluster", TOKEN)
    assert lxd.add("h2") == TOKEN
    assert command.calls == [
        "cluster list --format=json",
        "cluster enable h1",
        f"cluster join --token {TOKEN}",
        "cluster remove --yes h2",
        "cluster add --quiet h2",
    ]


def test_limits_are_those_of_microcluster() -> None:
    cluster = ClusterCommand(("microovn", "cluster"))
    assert (cluster.short_limit, cluster.long_limit, cluster.remove_limit) == (30, 600, 600)


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "\n",
        "null",
        "{}",
        "[]",
        "7",
        '"list"',
        "[null]",
        '["h1"]',
        '[{"name": "h1"}]',
        '[{"name": "h1", "role": null, "status": "ONLINE"}]',
        '[{"name": 1, "role": "voter", "status": "ONLINE"}]',
        '[{"name": "h1", "role": "voter", "status": []}]',
        '[{"name": "h1", "role": "voter", "status": "ONLINE"}, {}]',
        '[{"name": "h1", "role": "voter", "status": "ONLINE"}',
        '[{"name": "h1", "role": "voter", "status": "ONLINE"}] trailing',
        "NAME  ADDRESS  ROLE\nh1  10.0.0.1  voter\n",
        "[" * 100_000,
        "9" * 100_000,
        "\x00",
    ],
    ids=lambda text: text[:40],
)
def test_a_list_that_cannot_be_read(command: StandIn, printed: str) -> None:
    command.prints("list", printed)
    with pytest.raises(CommandFailed, match="printed no members that can be read") as caught:
        CLUSTER.list()
    assert caught.value.__context__ is None


def test_a_list_is_read_whatever_else_it_has(command: StandIn) -> None:
    command.lists(member("h1"), member("höst", "", "NOT FOUND") | {"extensions": None})
    assert CLUSTER.list() == (
        Member("h1", "voter", "ONLINE"),
        Member("höst", "", "NOT FOUND"),
    )


def test_a_huge_list(command: StandIn) -> None:
    names = [f"host-{number}" for number in range(20_000)]
    command.lists(*(member(name) for name in names))
    assert [it.name for it in CLUSTER.list()] == names


@pytest.mark.parametrize("status", [1, 2, 125, 127, 255])
def test_a_failure_gives_its_status_and_what_was_said(command: StandIn, status: int) -> None:
    command.on("list", f"echo '  Fehler:  kein\nCluster ' >&2; exit {status}")
    with pytest.raises(CommandFailed, match=f"^`list` failed with {status}: Fehler: kein Cluster$"):
        CLUSTER.list()


def test_a_failure_may_be_in_any_language(command: StandIn) -> None:
    command.on("list", r"printf '\377\376 erreur \303\251' >&2; exit 1")
    with pytest.raises(CommandFailed, match="erreur é"):
        CLUSTER.list()


def test_a_long_complaint_is_cut(command: StandIn) -> None:
    command.on("list", "yes word | head -100000 >&2; exit 1")
    with pytest.raises(CommandFailed) as caught:
        CLUSTER.list()
    assert len(str(caught.value)) == len("`list` failed with 1: ") + 500


def test_death_by_a_signal_is_a_failure(command: StandIn) -> None:
    command.on("list", "kill -9 $$")
    with pytest.raises(CommandFailed, match="failed with -9"):
        CLUSTER.list()


def test_what_is_said_on_success_is_not_mixed_in(command: StandIn) -> None:
    command.on("add", f"echo warning >&2; echo {TOKEN}")
    assert CLUSTER.add("h2") == TOKEN


@pytest.mark.parametrize(
    "printed",
    ["", "\n", "empty", "member", "retired", "two words", "--help", f"token:\n{TOKEN}"],
)
def test_no_token_is_printed(command: StandIn, printed: str) -> None:
    command.prints("add", printed)
    with pytest.raises(CommandFailed, match="printed no token"):
        CLUSTER.add("h2")


DEEDS: dict[str, Callable[[ClusterCommand], object]] = {
    "list": lambda cluster: cluster.list(),
    "bootstrap": lambda cluster: cluster.bootstrap(),
    "join": lambda cluster: cluster.join(TOKEN),
    "add": lambda cluster: cluster.add("h2"),
    "remove": lambda cluster: cluster.remove("h2"),
}


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize(
    "script",
    [
        "sleep 60",
        "sleep 60 & wait",
        "trap '' TERM INT; while :; do sleep 60; done",
        "sleep 60 &",
        "setsid sleep 5 &",
    ],
)
def test_a_command_that_hangs_is_ended_with_its_children(
    command: StandIn, deed: str, script: str
) -> None:
    cluster = ClusterCommand(("stand-in",), short_limit=0.3, long_limit=0.3, remove_limit=0.3)
    command.on(deed, script)
    began = time.monotonic()
    with pytest.raises(CommandHung, match=rf"^`{deed}` did not end within 0\.3 seconds$") as caught:
        DEEDS[deed](cluster)
    assert time.monotonic() - began < 50
    assert TOKEN not in shown(caught.value)


@pytest.mark.parametrize("deed", DEEDS)
def test_each_deed_has_its_own_limit(command: StandIn, deed: str) -> None:
    command.on(deed, "sleep 0.4; exit 3")
    own = {"list": "short_limit", "add": "short_limit", "remove": "remove_limit"}
    limits: dict[str, Any] = {"short_limit": 0.2, "long_limit": 0.2, "remove_limit": 0.2}
    limits[own.get(deed, "long_limit")] = 60
    with pytest.raises(CommandFailed, match="failed with 3"):
        DEEDS[deed](ClusterCommand(("stand-in",), **limits))


def test_a_command_that_asks_gets_no_answer(command: StandIn) -> None:
    command.on("bootstrap", "read answer || exit 3")
    with pytest.raises(CommandFailed, match="failed with 3"):
        CLUSTER.bootstrap()


@pytest.mark.parametrize("deed", DEEDS)
def test_a_command_that_is_not_there(deed: str, tmp_path: Path) -> None:
    missing = ClusterCommand((str(tmp_path / "missing"),))
    with pytest.raises(CommandFailed, match=f"^`{deed}` cannot be started: No such file") as caught:
        DEEDS[deed](missing)
    assert TOKEN not in shown(caught.value)


@pytest.mark.parametrize(
    "token", [f"{TOKEN}\0", f"{TOKEN}\ud800", TOKEN * 100_000], ids=["null", "half a pair", "long"]
)
def test_arguments_that_no_command_can_have(command: StandIn, token: str) -> None:
    with pytest.raises(CommandFailed, match=r"^`join` cannot be started: \S") as caught:
        CLUSTER.join(token)
    assert TOKEN not in shown(caught.value)
    assert command.calls == []


@pytest.mark.parametrize(
    "script",
    [
        'echo "Error: cannot join with $2" >&2; exit 1',
        'echo "Error: unknown command \\"$2\\" for cluster" >&2; exit 1',
        'echo "$2"; echo "token=$2." >&2; exit 1',
    ],
)
def test_a_command_that_repeats_its_token(command: StandIn, script: str) -> None:
    command.on("join", script)
    with pytest.raises(CommandFailed) as caught:
        CLUSTER.join(TOKEN)
    assert "[...]" in str(caught.value)
    assert TOKEN not in shown(caught.value)


def shown(error: BaseException) -> str:
    """Return all that Python would print of an exception."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.__context__)
