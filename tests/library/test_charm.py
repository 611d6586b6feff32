"""The library in a charm: state and event in, state out."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeAlias

import ops
import pytest
from ops import testing

import microcluster_token_consumer as library
from support import HOSTNAME, META, TOKEN, Charm, StandIn, member, noted, relation

SAID = {"hostname": HOSTNAME, "protocol": "2"}
INSIDE = {**SAID, "member": HOSTNAME}
GO = {"bootstrap-app": "microovn", "may-bootstrap": "true", "protocol": "2"}
UP = {0: {"mirror": "up"}}
REFUSED = library._fingerprint(TOKEN)

Context: TypeAlias = "testing.Context[Any]"


def shows(**names: str) -> dict[int, dict[str, str]]:
    """Return the bag of an up unit that shows these values."""
    return {0: {"mirror": "up"} | {f"mirror-{name}": value for name, value in names.items()}}


def state(
    *relations: testing.Relation, leader: bool = False, stored: testing.StoredState | None = None
) -> testing.State:
    return testing.State(
        leader=leader, relations=relations, stored_states={stored} if stored else set()
    )


def bag(out: testing.State, related: testing.Relation) -> dict[str, str]:
    """Return what the unit's bag says, without what Juju writes there."""
    data = dict(out.get_relation(related.id).local_unit_data)
    return {key: value for key, value in data.items() if not key.endswith(("address", "subnets"))}


def remembers(out: testing.State) -> dict[str, Any]:
    stored = out.get_stored_state("_stored", owner_path="Charm/TokenConsumer[cluster]")
    return dict(stored.content)


def every_event(ctx: Context, related: testing.Relation) -> dict[str, Any]:
    """Return the events in which a pass is made."""
    return {
        "created": ctx.on.relation_created(related),
        "joined": ctx.on.relation_joined(related, remote_unit=0),
        "changed": ctx.on.relation_changed(related, remote_unit=0),
        "leader-elected": ctx.on.leader_elected(),
        "config-changed": ctx.on.config_changed(),
        "start": ctx.on.start(),
        "update-status": ctx.on.update_status(),
        "upgrade-charm": ctx.on.upgrade_charm(),
    }


EVENTS = [
    "created",
    "joined",
    "changed",
    "leader-elected",
    "config-changed",
    "start",
    "update-status",
    "upgrade-charm",
]


@pytest.mark.parametrize("kind", EVENTS)
def test_the_host_is_announced_in_every_event(ctx: Context, kind: str) -> None:
    related = relation(units={0: {}})
    out = ctx.run(every_event(ctx, related)[kind], state(related, leader=True))
    assert bag(out, related) == SAID
    assert out.unit_status == testing.WaitingStatus("waiting for the token distributor")
    assert out.deferred == []


@pytest.mark.parametrize("kind", EVENTS)
def test_the_leader_bootstraps_in_every_event(
    ctx: Context, command: StandIn, heard: list[str], kind: str
) -> None:
    command.on("bootstrap", "exit 0").lists_after("bootstrap", member("h1"))
    related = relation(units=UP, app=GO)
    out = ctx.run(every_event(ctx, related)[kind], state(related, leader=True))
    assert command.deeds == ["bootstrap --found"]
    assert heard == ["prebootstrap, outside", "bootstrapped, inside", "joined True, inside"]
    assert bag(out, related) == {**INSIDE, "mirror": "up"}
    assert out.unit_status == testing.ActiveStatus()
    assert out.deferred == []
    assert remembers(out)["in_cluster"] is True


@pytest.mark.parametrize("kind", EVENTS)
def test_a_host_joins_in_every_event(
    ctx: Context, command: StandIn, heard: list[str], kind: str
) -> None:
    command.on("join", "exit 0").lists_after("join", member("h0"), member("h1"))
    related = relation(units=shows(h1=TOKEN), app=GO)
    out = ctx.run(every_event(ctx, related)[kind], state(related, leader=True))
    assert command.deeds == [f"join {TOKEN} --join 1"]
    assert heard == ["prejoin, outside", "joined False, inside"]
    assert bag(out, related) == INSIDE
    assert out.unit_status == testing.ActiveStatus()


@pytest.mark.parametrize("kind", EVENTS)
def test_the_communicator_mints_in_every_event(
    ctx: Context, command: StandIn, heard: list[str], kind: str
) -> None:
    command.prints("add", f"{TOKEN}\n").lists(member("h1"), member("h2"))
    related = relation(INSIDE, shows(h3="empty", h4="empty", h2="member"), GO)
    before = testing.State(
        relations=[related],
        stored_states={noted(in_cluster=True)},
        unit_status=testing.BlockedStatus("the charm's own"),
    )
    out = ctx.run(every_event(ctx, related)[kind], before)
    assert command.calls == ["list -f json", "add h3", "add h4"]
    assert heard == ["token_generated, inside"] * 2
    minted = {"mirror-h3": TOKEN, "mirror-h4": TOKEN}
    assert bag(out, related) == {**INSIDE, **minted, "mirror": "up"}
    # The status of a member is the charm's.
    assert out.unit_status == testing.BlockedStatus("the charm's own")


@pytest.mark.parametrize("kind", ["departed", "broken"])
def test_in_departed_and_broken_it_stops(ctx: Context, command: StandIn, kind: str) -> None:
    command.on("bootstrap", "exit 0").on("join", "exit 0").lists(member("h1"))
    command.prints("add", TOKEN)
    for related, stored in [
        (relation(units=UP, app=GO), None),
        (relation(units=shows(h1=TOKEN)), None),
        (relation(units=shows(h2="empty")), noted(in_cluster=True)),
    ]:
        event = (
            ctx.on.relation_broken(related)
            if kind == "broken"
            else ctx.on.relation_departed(related, remote_unit=0, departing_unit=0)
        )
        out = ctx.run(event, state(related, leader=True, stored=stored))
        assert bag(out, related) == {}
    assert command.calls == []


def test_without_a_relation_nothing_is_done(ctx: Context, command: StandIn) -> None:
    for event in (ctx.on.start(), ctx.on.update_status(), ctx.on.leader_elected()):
        out = ctx.run(event, state(leader=True))
        assert out.unit_status == testing.UnknownStatus()
    assert command.calls == []


def test_two_relations_while_one_replaces_the_other(ctx: Context, command: StandIn) -> None:
    command.lists(member("h1"))
    # A charm that forgot `limit: 1` is served, too; ops would not name its only relation.
    ends, begins = relation(units=UP), relation(units=UP)
    stored = noted(in_cluster=True)
    out = ctx.run(ctx.on.update_status(), state(ends, begins, stored=stored))
    assert bag(out, ends) == bag(out, begins) == {**INSIDE, "mirror": "up"}


def test_a_host_that_came_in_through_one_relation_says_so_in_the_other(
    ctx: Context, command: StandIn, heard: list[str]
) -> None:
    command.on("join", "exit 0").lists_after("join", member("h0"), member("h1"))
    first, second = relation(units=shows(h1=TOKEN)), relation(units=shows(h1=TOKEN))
    out = ctx.run(ctx.on.config_changed(), state(first, second))
    assert bag(out, first) == bag(out, second) == INSIDE
    assert command.deeds == [f"join {TOKEN} --join 1"]
    assert heard == ["prejoin, outside", "joined False, inside"]


# Failures


def test_bootstrap_fails(
    ctx: Context, command: StandIn, heard: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    related = relation(units=UP, app=GO)
    out = ctx.run(ctx.on.leader_elected(), state(related, leader=True))
    logged = [(record.levelname, record.message) for record in caplog.records]
    assert ("ERROR", "`bootstrap` failed with 1: refused") in logged
    assert logged.count(("INFO", "`list` failed with 1: refused")) == 2
    assert command.calls == ["list -f json", "bootstrap --found", "list -f json"]
    assert out.unit_status == testing.BlockedStatus("cannot bootstrap the cluster")
    assert bag(out, related) == SAID
    assert out.deferred == []
    assert heard == ["prebootstrap, outside"]
    # A later event does it.
    command.on("bootstrap", "exit 0").lists_after("bootstrap", member("h1"))
    (command.folder / "calls").unlink()
    again = ctx.run(ctx.on.update_status(), out)
    assert again.unit_status == testing.ActiveStatus()
    assert command.deeds == ["bootstrap --found"]


def test_a_token_is_refused_and_another_one_serves(
    ctx: Context, command: StandIn, heard: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    command.on("join", 'echo "Error: no such token $2" >&2; exit 1')
    related = relation(units=shows(h1=TOKEN))
    first = ctx.run(ctx.on.relation_changed(related, remote_unit=0), state(related))
    assert first.unit_status == testing.WaitingStatus("joining the cluster failed, trying again")
    assert bag(first, related) == SAID
    second = ctx.run(ctx.on.config_changed(), first)
    message = f"join token {REFUSED} was refused, waiting for another"
    assert second.unit_status == testing.WaitingStatus(message)
    assert bag(second, related) == {**SAID, "refused": REFUSED}
    assert heard == ["prejoin, outside"] * 2 + [f"token_refused {REFUSED}, outside"]
    assert remembers(second)["tries"][REFUSED][0] == 2
    # Other events leave it alone, and update-status pauses.
    third = ctx.run(ctx.on.config_changed(), second)
    third = ctx.run(ctx.on.update_status(), third)
    assert len(command.deeds) == 2

    command.on("join", "exit 0").lists_after(f"join {TOKEN[::-1]}", member("h0"), member("h1"))
    related = relation(bag(third, related), {0: {"mirror": "up", "mirror-h1": TOKEN[::-1]}})
    before = testing.State(relations=[related], stored_states=third.stored_states)
    fourth = ctx.run(ctx.on.relation_changed(related, remote_unit=0), before)
    assert bag(fourth, related) == INSIDE
    assert fourth.unit_status == testing.ActiveStatus()
    assert remembers(fourth) == {
        "in_cluster": True,
        "half_in": False,
        "tries": {},
        "refusal": [],
        "said": ["active", ""],
    }
    written = caplog.text + "".join(record.message for record in ctx.juju_log)
    assert "[...]" in written
    assert TOKEN not in written
    assert TOKEN[::-1] not in written


def test_a_refused_token_is_tried_on_at_update_status(
    ctx: Context, command: StandIn, heard: list[str]
) -> None:
    long_ago = int(time.time()) - library._FIRST_PAUSE - 1
    stored = noted(tries={REFUSED: [2, long_ago]})
    related = relation({**SAID, "refused": REFUSED}, shows(h1=TOKEN))
    out = ctx.run(ctx.on.update_status(), state(related, stored=stored))
    failures, last = remembers(out)["tries"][REFUSED]
    assert (failures, abs(last - time.time()) < 60) == (3, True)
    assert heard == ["prejoin, outside"]
    assert command.deeds == [f"join {TOKEN} --join 1"]


def test_join_worked_before_but_the_hook_was_cut_off(
    ctx: Context, command: StandIn, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command.on("join", "exit 0").lists_after("join", member("h0"), member("h1"))
    related = relation(units=shows(h1=TOKEN))
    before = state(related)
    monkeypatch.setattr(Charm, "trouble", "joined")
    with pytest.raises(Exception, match="joined"):
        ctx.run(ctx.on.relation_changed(related, remote_unit=0), before)
    monkeypatch.setattr(Charm, "trouble", None)
    # Juju drops what a failed hook wrote, so that the same state comes again.
    out = ctx.run(ctx.on.relation_changed(related, remote_unit=0), before)
    assert command.deeds == [f"join {TOKEN} --join 1"]
    assert bag(out, related) == INSIDE
    assert heard == ["prejoin, outside"] + ["joined False, inside"] * 2


@pytest.mark.parametrize("trouble", ["prebootstrap", "bootstrapped", "joined", "token_generated"])
def test_a_hook_that_is_cut_off_while_bootstrapping_is_made_up_for(
    ctx: Context, command: StandIn, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.on("bootstrap", "exit 0").lists_after("bootstrap", member("h1")).prints("add", TOKEN)
    related = relation(units=shows(h2="empty"), app=GO)
    before = state(related, leader=True)
    monkeypatch.setattr(Charm, "trouble", trouble)
    with pytest.raises(Exception, match=trouble):
        ctx.run(ctx.on.relation_changed(related, remote_unit=0), before)
    monkeypatch.setattr(Charm, "trouble", None)
    out = ctx.run(ctx.on.relation_changed(related, remote_unit=0), before)
    assert command.deeds.count("bootstrap --found") == 1
    assert bag(out, related) == {**INSIDE, "mirror": "up", "mirror-h2": TOKEN}


@pytest.mark.parametrize(("word", "bootstraps"), [("microovn", True), ("other", False)])
def test_a_provider_of_the_first_protocol(
    ctx: Context, command: StandIn, word: str, bootstraps: bool
) -> None:
    command.on("bootstrap", "exit 0").lists_after("bootstrap", member("h1"))
    related = relation(units=UP, app={"bootstrap-app": word})
    out = ctx.run(ctx.on.start(), state(related, leader=True))
    assert command.deeds == ["bootstrap --found"] * bootstraps
    assert remembers(out)["in_cluster"] is bootstraps


@pytest.mark.parametrize("deed", ["join", "bootstrap"])
def test_what_the_command_says_is_enough(ctx: Context, command: StandIn, deed: str) -> None:
    """The daemon may be busy for a moment after it came in, and list nothing."""
    command.on(deed, "exit 0")
    related = relation(units=UP if deed == "bootstrap" else shows(h1=TOKEN), app=GO)
    out = ctx.run(ctx.on.start(), state(related, leader=True))
    assert remembers(out)["in_cluster"] is True
    assert bag(out, related) == INSIDE
    assert out.unit_status == testing.ActiveStatus()


def test_adding_fails_for_one_host(
    ctx: Context, command: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    command.lists(member("h1")).on("add", f"[ $2 = h2 ] && exit 1; echo {TOKEN}")
    related = relation(units=shows(h2="empty", h3="empty"))
    out = ctx.run(ctx.on.update_status(), state(related, stored=noted(in_cluster=True)))
    assert command.deeds == ["add h2", "add h3"]
    assert bag(out, related) == {**INSIDE, "mirror": "up", "mirror-h3": TOKEN}
    assert "no token for h2: `add` failed with 1" in caplog.text
    assert "made a token for h3" in caplog.text
    assert TOKEN not in caplog.text


def test_adding_hangs_and_no_other_host_has_to_wait_for_it(
    ctx: Context, command: StandIn, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Charm, "limit", 10)
    command.lists(member("h1")).on("add", f"[ $2 = h3 ] && sleep 60; echo {TOKEN}")
    related = relation(units=shows(h2="empty", h3="empty", h4="empty"))
    out = ctx.run(ctx.on.update_status(), state(related, stored=noted(in_cluster=True)))
    assert command.deeds == ["add h2", "add h3"]
    assert bag(out, related) == {**INSIDE, "mirror": "up", "mirror-h2": TOKEN}
    assert heard == ["token_generated, inside"]


def test_the_list_hangs(ctx: Context, command: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Charm, "limit", 0.3)
    command.on("list", "sleep 60")
    own = {**INSIDE, "mirror": "up"}
    related = relation(own, shows(h2="empty"))
    out = ctx.run(ctx.on.update_status(), state(related, stored=noted(in_cluster=True)))
    assert command.calls == ["list -f json"]
    assert bag(out, related) == own


def test_a_hook_waits_for_no_heartbeat(ctx: Context, command: StandIn) -> None:
    command.lists(member("h1", "PENDING"), member("h0"))
    related = relation(units=UP)
    out = ctx.run(ctx.on.config_changed(), state(related, stored=noted(in_cluster=True)))
    assert command.calls == ["list -f json"]
    assert bag(out, related) == INSIDE


# Who is in, and who is half in


def test_a_host_that_is_half_in_says_so_until_it_is_repaired(
    ctx: Context, command: StandIn, heard: list[str]
) -> None:
    command.lists(member("h0"), member("h2", status="UNREACHABLE"))
    related = relation({**INSIDE, "mirror": "down"}, shows(h1="member", h3="empty"), GO)
    before = state(related, stored=noted(in_cluster=True))
    out = ctx.run(ctx.on.update_status(), before)
    assert bag(out, related) == {**SAID, "mirror": "down"}
    blocked = testing.BlockedStatus(
        "no member lists this host: it is half in, see how-to/recover.md of the token distributor"
    )
    assert out.unit_status == status(ctx, out) == blocked
    assert remembers(out)["in_cluster"] is False
    assert command.deeds == heard == []
    # Every event asks again.
    again = ctx.run(ctx.on.config_changed(), out)
    assert again.unit_status == blocked
    command.lists(member("h0"), member("h1"))
    repaired = ctx.run(ctx.on.config_changed(), again)
    assert repaired.unit_status == testing.ActiveStatus()
    assert bag(repaired, related) == {**INSIDE, "mirror": "down"}
    assert heard == ["joined False, inside"]


@pytest.mark.parametrize("role", ["voter", "stand-by", "spare"])
def test_a_charm_that_has_a_cluster_already_notes_it(
    ctx: Context, command: StandIn, heard: list[str], role: str
) -> None:
    command.lists(member("h0"), member("h1", role))
    with ctx(ctx.on.stop(), state()) as manager:
        assert manager.charm.cluster.adopt()
        assert manager.charm.cluster.in_cluster
        out = manager.run()
    assert remembers(out)["in_cluster"] is True
    assert heard == []


@pytest.mark.parametrize("role", [None, "", "PENDING"])
def test_a_charm_that_is_in_no_cluster_notes_nothing(
    ctx: Context, command: StandIn, role: str | None
) -> None:
    command.lists(member("h0"), *([] if role is None else [member("h1", role)]))
    with ctx(ctx.on.stop(), state()) as manager:
        assert not manager.charm.cluster.adopt()
        out = manager.run()
    assert remembers(out)["in_cluster"] is False


def test_adopting_again_changes_nothing(ctx: Context, command: StandIn) -> None:
    said = ["blocked", "no host can join"]
    with ctx(ctx.on.stop(), state(stored=noted(in_cluster=True, said=said))) as manager:
        # The list fails.
        assert manager.charm.cluster.adopt()
        out = manager.run()
    assert remembers(out)["said"] == said


# Dead members


def test_no_token_is_made_while_a_member_is_dead(ctx: Context, command: StandIn) -> None:
    command.lists(member("h1"), member("h2", status="UNREACHABLE")).prints("add", TOKEN)
    related = relation({**INSIDE, "mirror": "up"}, shows(h2="member", h3="empty"), GO)
    out = ctx.run(ctx.on.config_changed(), state(related, stored=noted(in_cluster=True)))
    blocked = testing.BlockedStatus(
        "no host can join while h2 is UNREACHABLE: if it is lost, run `cluster remove h2 --force`"
    )
    assert out.unit_status == status(ctx, out) == blocked
    assert command.deeds == []
    # The charm may show another status meanwhile; the next pass says it again.
    again = ctx.run(
        ctx.on.update_status(), dataclasses.replace(out, unit_status=ops.ActiveStatus())
    )
    assert again.unit_status == blocked
    command.lists(member("h1"))
    out = ctx.run(ctx.on.update_status(), again)
    assert out.unit_status == status(ctx, out) == testing.ActiveStatus()
    assert bag(out, related) == {**INSIDE, "mirror": "up", "mirror-h3": TOKEN}
    # From now on the status is the charm's again.
    own = ops.MaintenanceStatus("the charm's own")
    out = ctx.run(ctx.on.update_status(), dataclasses.replace(out, unit_status=own))
    assert out.unit_status == own


# The charm decides


class Unready(Charm):
    """Waits for its network option."""

    option: ClassVar[str | None] = None
    asked: ClassVar[list[str]] = []

    def ready(self) -> str | None:
        self.asked.append("ready?")
        return None if self.option else "the option `network` is not set"

    def __init__(self, framework: ops.Framework):
        super().__init__(
            framework, ready=self.ready, bootstrap_args_func=lambda: [self.option or ""]
        )
        self.cluster.join_args_func = lambda: [self.option or ""]


@pytest.mark.parametrize("deed", ["bootstrap", "join"])
def test_a_unit_that_is_not_ready_waits_unannounced(
    command: StandIn, heard: list[str], monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    monkeypatch.setattr(Unready, "asked", [])
    command.on(deed, "exit 0").lists_after(deed, member("h1"))
    ctx = testing.Context(Unready, meta=META)
    related = relation(units=UP if deed == "bootstrap" else shows(h1=TOKEN), app=GO)
    out = state(related, leader=True)
    for kind in [*EVENTS, "update-status", "config-changed"]:
        out = ctx.run(every_event(ctx, related)[kind], out)
        assert out.unit_status == testing.WaitingStatus("the option `network` is not set")
        assert bag(out, related) == {}
    assert command.deeds == heard == []
    assert len(Unready.asked) == 10
    monkeypatch.setattr(Unready, "option", "10.0.0.0/8")
    out = ctx.run(ctx.on.config_changed(), out)
    out = ctx.run(ctx.on.update_status(), out)
    assert command.deeds == [
        f"join {TOKEN} 10.0.0.0/8" if deed == "join" else "bootstrap 10.0.0.0/8"
    ]
    assert bag(out, related)["member"] == "h1"
    # A member is not asked.
    assert len(Unready.asked) == 11


# Leadership


@pytest.mark.parametrize(
    ("tool", "bootstraps"),
    [("echo true", True), ("echo false", False), ("exit 1", False), ("echo rubbish", False)],
)
def test_juju_itself_is_asked_just_before(
    ctx: Context, command: StandIn, tool: str, bootstraps: bool
) -> None:
    path = command.folder / "is-leader"
    note = f'printf "is-leader %s\\n" "$*" >> "{command.folder}/calls"'
    path.write_text(f"#!/bin/sh\n{note}\n{tool}\n")
    path.chmod(0o755)
    command.on("bootstrap", "exit 0").lists_after("bootstrap", member("h1"))
    related = relation(units=UP, app=GO)
    out = ctx.run(ctx.on.start(), state(related, leader=True))
    asked = ["list -f json", "is-leader --format=json"]
    assert command.calls == asked + ["bootstrap --found", "list -f json"] * bootstraps
    assert remembers(out)["in_cluster"] is bootstraps
    if not bootstraps:
        assert out.unit_status == testing.WaitingStatus("waiting for a join token")


def test_a_member_does_not_ask_who_leads(
    ctx: Context, command: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_leader(_: ops.Unit) -> bool:
        raise AssertionError("asked")

    monkeypatch.setattr(ops.Unit, "is_leader", is_leader)
    command.lists(member("h1"))
    related = relation(units=UP)
    ctx.run(ctx.on.config_changed(), state(related, stored=noted(in_cluster=True)))


# The end


def test_a_unit_that_goes_leaves_the_cluster(ctx: Context, command: StandIn) -> None:
    command.on("remove", "exit 0")
    ctx.run(ctx.on.remove(), state(stored=noted(in_cluster=True)))
    assert command.calls == ["remove h1"]


@pytest.mark.parametrize("listed", [("h1", "h2"), ("h2",), ()])
def test_the_list_decides_whether_a_unit_has_left(
    ctx: Context, command: StandIn, caplog: pytest.LogCaptureFixture, listed: tuple[str, ...]
) -> None:
    command.on("remove", "echo EOF >&2; exit 1")
    if listed:
        command.lists(*(member(name) for name in listed))
    ctx.run(ctx.on.remove(), state(stored=noted(in_cluster=True)))
    assert command.calls == ["remove h1", "list -f json"]
    complaint = "cannot leave the cluster: `remove` failed with 1: EOF"
    assert (complaint in caplog.text) is ("h1" in listed)


@pytest.mark.parametrize(
    ("leave", "deeds"), [(True, ["remove h1"]), ("force", ["remove h1 --force"]), (False, [])]
)
def test_the_charm_says_how_a_unit_leaves(
    command: StandIn, heard: list[str], leave: Any, deeds: list[str]
) -> None:
    class Leaving(Charm):
        def __init__(self, framework: ops.Framework):
            super().__init__(framework, leave_on_remove=leave)

    command.on("remove", "exit 0")
    ctx = testing.Context(Leaving, meta=META)
    stored = testing.StoredState(
        name="_stored", owner_path="Leaving/TokenConsumer[cluster]", content={"in_cluster": True}
    )
    ctx.run(ctx.on.remove(), state(stored=stored))
    assert command.calls == deeds


def test_a_unit_that_never_came_in_has_nothing_to_leave(ctx: Context, command: StandIn) -> None:
    ctx.run(ctx.on.remove(), state())
    assert command.calls == []


# Relations that Juju goes on listing and no longer serves

REFUSALS = [
    "permission denied",
    "permission denied (unauthorized access)",
    "relation 7 not found",
    "relation unit not found",
    "words that nobody has seen yet",
]
BAGS = ["own, read", "own, write", "remote unit", "remote application", "all"]


def refuse(
    monkeypatch: pytest.MonkeyPatch, charm: Charm, relation_id: int, bag: str, words: str
) -> None:
    """Make Juju refuse one bag of one relation, or all."""
    backend: Any = type(charm.model._backend)
    own = (charm.unit.name, charm.app.name)

    def guard(tool: str, which: Callable[[dict[str, Any]], str]) -> None:
        call = getattr(backend, tool)

        def refuses(*values: Any, **named: Any) -> Any:
            # Versions of ops pass them in different ways.
            arguments = inspect.signature(call).bind(*values, **named).arguments
            if arguments["relation_id"] == relation_id and bag in (which(arguments), "all"):
                raise ops.ModelError(words)
            return call(*values, **named)

        monkeypatch.setattr(backend, tool, refuses)

    def read(arguments: dict[str, Any]) -> str:
        if arguments["member_name"] in own:
            return "own, read"
        return "remote application" if arguments["is_app"] else "remote unit"

    def write(_: dict[str, Any]) -> str:
        return "own, write"

    guard("relation_get", read)
    guard("relation_set", write)


class Joins(library.ClusterCommand):
    """Joins at once, without a process: there are hundreds of cases."""

    def list(self) -> tuple[library.Member, ...]:
        raise library.CommandFailed("`list` failed")

    def join(self, token: str, arguments: Iterable[str] = ()) -> None:
        pass


class Joining(Charm):
    """Has such a command."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster.cluster = Joins(())


@pytest.mark.parametrize("kind", [*EVENTS, "departed", "broken"])
@pytest.mark.parametrize("refused", BAGS)
@pytest.mark.parametrize("words", REFUSALS)
def test_a_relation_that_is_refused_costs_no_other_one_anything(
    monkeypatch: pytest.MonkeyPatch, heard: list[str], words: str, refused: str, kind: str
) -> None:
    ctx = testing.Context(Joining, meta=META)
    dangling = relation(units={0: {"mirror": "up"}}, app=GO)
    healthy = relation(units=shows(h1=TOKEN), app=GO)
    event = every_event(ctx, dangling).get(kind) or (
        ctx.on.relation_broken(dangling)
        if kind == "broken"
        else ctx.on.relation_departed(dangling, remote_unit=0, departing_unit=0)
    )
    with ctx(event, state(dangling, healthy)) as manager:
        refuse(monkeypatch, manager.charm, dangling.id, refused, words)
        out = manager.run()
    if kind in EVENTS:
        assert bag(out, healthy) == INSIDE


@pytest.mark.parametrize("kind", [*EVENTS])
@pytest.mark.parametrize("refused", BAGS)
def test_a_unit_whose_only_relation_is_refused_says_so(
    ctx: Context, command: StandIn, monkeypatch: pytest.MonkeyPatch, refused: str, kind: str
) -> None:
    related = relation(units=shows(h1=TOKEN), app=GO)
    with ctx(every_event(ctx, related)[kind], state(related)) as manager:
        refuse(monkeypatch, manager.charm, related.id, refused, "permission denied")
        out = manager.run()
        said = manager.charm.cluster.status
    words = f"Juju refuses relation cluster:{related.id}: remove it and integrate again"
    assert out.unit_status == said == testing.BlockedStatus(words)
    assert command.deeds == []


def test_what_failed_before_a_relation_went_away_is_remembered(
    ctx: Context,
    command: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    related = relation(SAID, shows(h1=TOKEN))
    stored = noted(tries={REFUSED: [1, 0]})
    with ctx(ctx.on.start(), state(related, stored=stored)) as manager:
        refuse(monkeypatch, manager.charm, related.id, "own, write", f"cannot write {TOKEN}")
        out = manager.run()
    assert remembers(out)["tries"][REFUSED][0] == 2
    assert remembers(out)["refusal"] == []
    assert "is gone: cannot write [...]" in caplog.text


def test_an_application_that_juju_does_not_name(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    related = relation(units=UP)
    with ctx(ctx.on.start(), state(related, leader=True)) as manager:
        found = manager.charm.model.get_relation("cluster")
        monkeypatch.setattr(found, "app", None)
        out = manager.run()
    assert bag(out, related) == SAID


# What a charm sees


def status(ctx: Context, before: testing.State) -> ops.StatusBase:
    """Return what is to be shown in an event in which no pass is made."""
    with ctx(ctx.on.stop(), before) as manager:
        return manager.charm.cluster.status


def test_status(ctx: Context) -> None:
    related = relation()
    for before, expected in [
        (state(), ops.BlockedStatus("needs a relation of endpoint cluster")),
        (state(related), ops.WaitingStatus("not in a cluster")),
        (
            state(related, stored=noted(said=["blocked", "cannot bootstrap the cluster"])),
            ops.BlockedStatus("cannot bootstrap the cluster"),
        ),
        (state(related, stored=noted(in_cluster=True)), ops.ActiveStatus()),
        (state(stored=noted(in_cluster=True)), ops.ActiveStatus()),
        # No host waits any more.
        (
            state(stored=noted(in_cluster=True, said=["blocked", "no host can join"])),
            ops.ActiveStatus(),
        ),
    ]:
        assert status(ctx, before) == expected


def test_what_a_pass_said_is_the_status_of_later_events(ctx: Context) -> None:
    related = relation(units=UP)
    out = ctx.run(ctx.on.start(), state(related))
    assert out.unit_status == status(ctx, out) == ops.WaitingStatus("waiting for a join token")


def test_a_charm_can_set_its_status_by_itself(command: StandIn, heard: list[str]) -> None:
    class Quiet(Charm):
        def __init__(self, framework: ops.Framework):
            super().__init__(framework, sets_status=False)

    ctx = testing.Context(Quiet, meta=META)
    related = relation(units=UP)
    with ctx(ctx.on.start(), state(related)) as manager:
        out = manager.run()
        assert manager.charm.cluster.status == ops.WaitingStatus("waiting for a join token")
    assert out.unit_status == testing.UnknownStatus()


class Collecting(Charm):
    """A charm that lets ops choose its status."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        framework.observe(self.on.collect_unit_status, self._on_collect)

    def _on_collect(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(self.cluster.status)
        event.add_status(ops.MaintenanceStatus("the charm's own"))


def test_a_charm_that_collects_its_status(command: StandIn, heard: list[str]) -> None:
    ctx = testing.Context(Collecting, meta=META)
    out = ctx.run(ctx.on.start(), state(relation(units=UP, app=GO), leader=True))
    assert out.unit_status == ops.BlockedStatus("cannot bootstrap the cluster")
    out = ctx.run(ctx.on.start(), state(relation(units=UP)))
    assert out.unit_status == ops.MaintenanceStatus("the charm's own")


def test_the_host_name_is_the_kernels_and_the_command_any_list(heard: list[str]) -> None:
    class Plain(ops.CharmBase):
        def __init__(self, framework: ops.Framework):
            super().__init__(framework)
            self.cluster = library.TokenConsumer(
                charm=self, relation_name="cluster", command_name=["microovn", "cluster"]
            )

    ctx = testing.Context(Plain, meta=META)
    related = relation(units=UP)
    with ctx(ctx.on.relation_created(related), state(related)) as manager:
        consumer = manager.charm.cluster
        assert consumer.cluster == library.ClusterCommand(("microovn", "cluster"))
        assert (list(consumer.join_args_func()), list(consumer.bootstrap_args_func())) == ([], [])
        assert not consumer.in_cluster
        out = manager.run()
    assert bag(out, related)["hostname"] == os.uname().nodename


class Deferring(ops.CharmBase):
    """Puts the library's events off once."""

    seen: ClassVar[list[object]] = []

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        command = library.ClusterCommand(("stand-in",))
        self.cluster = library.TokenConsumer(self, "cluster", command, hostname=HOSTNAME)
        framework.observe(self.cluster.on.joined, self._on_event)
        framework.observe(self.cluster.on.token_refused, self._on_event)

    def _on_event(self, event: library.ClusterJoinedEvent | library.TokenRefusedEvent) -> None:
        is_joined = isinstance(event, library.ClusterJoinedEvent)
        self.seen.append(event.bootstrapper if is_joined else event.fingerprint)
        if len(self.seen) == 1:
            event.defer()


@pytest.mark.parametrize("deed", ["bootstrap", "join", "refuse"])
def test_events_that_a_charm_defers_keep_their_facts(
    command: StandIn, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(Deferring, "seen", seen)
    ctx = testing.Context(Deferring, meta=META)
    stored = None
    if deed != "refuse":
        command.on(deed, "exit 0").lists_after(deed, member("h1"))
    else:
        content: dict[str, Any] = {"in_cluster": False, "tries": {REFUSED: [1, 0]}, "said": []}
        owner = "Deferring/TokenConsumer[cluster]"
        stored = testing.StoredState(name="_stored", owner_path=owner, content=content)
    related = relation(units=UP if deed == "bootstrap" else shows(h1=TOKEN), app=GO)
    out = ctx.run(ctx.on.start(), state(related, leader=True, stored=stored))
    assert len(out.deferred) == 1
    again = ctx.run(ctx.on.stop(), out)
    assert again.deferred == []
    assert seen == [{"bootstrap": True, "join": False, "refuse": REFUSED}[deed]] * 2


# From major version 0


def test_a_member_of_version_0_knows_that_it_is_one(ctx: Context, command: StandIn) -> None:
    command.lists(member("h1"), member("h2"))
    # Its whole memory, and the bag of its communicator.
    stored = testing.StoredState(
        name="_stored",
        owner_path="Charm/TokenConsumer[cluster]",
        content={"in_cluster": True},
    )
    own = {"hostname": "h1", "mirror": "down", "mirror-h1": TOKEN, "mirror-h2": TOKEN}
    related = relation(own, shows(h1=TOKEN, h2=TOKEN))
    out = ctx.run(ctx.on.upgrade_charm(), state(related, stored=stored))
    assert bag(out, related) == {**own, **INSIDE, "mirror": "up"}
    assert command.deeds == []
    assert remembers(out)["in_cluster"] is True


@pytest.mark.parametrize("method", ["_handle_relation_joined", "_on_cluster_changed"])
@pytest.mark.parametrize("kind", ["joined", "changed"])
@pytest.mark.parametrize("is_member", [False, True])
def test_what_version_0_deferred_is_dropped_and_what_is_due_is_done(
    ctx: Context, command: StandIn, heard: list[str], method: str, kind: str, is_member: bool
) -> None:
    command.on("join", "exit 0").on("bootstrap", "exit 0")
    command.lists_after("join", member("h0"), member("h1"))
    related = relation({"hostname": "h1"}, shows(h1=TOKEN), {"bootstrap-app": "microovn"})
    deferred = testing.DeferredEvent(
        handle_path=f"Charm/on/cluster_relation_{kind}[7]",
        owner="Charm/TokenConsumer[cluster]",
        observer=method,
        snapshot_data={
            "relation_name": "cluster",
            "relation_id": related.id,
            "app_name": "p",
            "unit_name": "p/0",
        },
    )
    stored = testing.StoredState(
        name="_stored",
        owner_path="Charm/TokenConsumer[cluster]",
        content={"in_cluster": is_member},
    )
    before = testing.State(
        leader=True, relations=[related], deferred=[deferred], stored_states={stored}
    )
    out = ctx.run(ctx.on.upgrade_charm(), before)
    assert out.deferred == []
    assert command.deeds == ([] if is_member else [f"join {TOKEN} --join 1"])
    assert heard == ([] if is_member else ["prejoin, outside", "joined False, inside"])
    assert bag(out, related) == INSIDE


def test_a_joined_event_that_version_0_left_behind(ctx: Context) -> None:
    with ctx(ctx.on.stop(), state()) as manager:
        handle = ops.Handle(manager.charm.cluster.on, "joined", "1")
        event = library.ClusterJoinedEvent(handle, bootstrapper=True)
        event.restore({})
        assert event.bootstrapper is False


@pytest.mark.skipif(
    not hasattr(testing.CharmEvents, "custom"), reason="this ops emits no event by its class"
)
def test_charms_name_the_events_by_the_class(ctx: Context, heard: list[str]) -> None:
    ctx.run(ctx.on.custom(library.TokenConsumer.on.bootstrapped), state())
    assert heard == ["bootstrapped, outside"]


def test_charmhub_knows_the_library() -> None:
    assert library.LIBID == "ec674038842544928b4e21ee6e199666"
    assert (library.LIBAPI, library.LIBPATCH) == (1, 1)
