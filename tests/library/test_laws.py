"""Laws of a pass, whatever is in foreign databags."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import ops
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops import testing

import microcluster_token_consumer as library
from support import HOSTNAME, META, relation

NAMES = [HOSTNAME, "h0", "h2", "node.1.lan", "_guard", "", "--help"]
TOKENS = [f"eyJzZWNyZXQiOiJ0b2tlbi1udW1iZXIt{number}In0=" for number in range(4)]
FINGERPRINTS = [library._fingerprint(token) for token in TOKENS]
RELATION_KINDS = ["created", "joined", "changed"]
OTHER_KINDS = ["leader-elected", "config-changed", "start", "update-status", "upgrade-charm"]

# A mixture of what can be expected and what can not; Juju's bags hold no empty values.
words = st.one_of(
    st.sampled_from(TOKENS),
    st.sampled_from(["empty", "member", "retired", "up", "down", "true", "false", "2"]),
    st.lists(st.sampled_from([*FINGERPRINTS, "0", "\u2603"]), min_size=1).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
keys = st.one_of(
    st.sampled_from(["mirror", "hostname", "protocol", "member", "refused", "bootstrap-app"]),
    st.sampled_from([prefix + name for name in NAMES for prefix in ("mirror-", "spent-")]),
    st.sampled_from(["may-bootstrap", "nudge", "hosts"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="="), min_size=1),
)
bags = st.dictionaries(keys, words, max_size=8)
up_bags = bags.map(lambda bag: bag | {"mirror": "up"})
members = st.builds(
    library.Member,
    st.sampled_from(NAMES),
    st.sampled_from(["voter", "stand-by", "spare", "PENDING", ""]),
    st.sampled_from(["ONLINE", "UNREACHABLE", "?"]),
)
listings = st.one_of(
    st.just(()),
    st.lists(members, max_size=4).map(tuple),
    st.just((library.Member(HOSTNAME, "voter", "ONLINE"),)),
)
tries = st.dictionaries(
    st.sampled_from(FINGERPRINTS),
    st.builds(library._Try, st.integers(1, 90), st.integers(0, 2**40)),
)
facts = st.builds(
    library._Facts,
    hostname=st.just(HOSTNAME),
    application=st.sampled_from(["microovn", "2", "true"]),
    event=st.sampled_from(RELATION_KINDS + OTHER_KINDS),
    now=st.integers(0, 2**40),
    leads=st.booleans(),
    in_cluster=st.booleans(),
    own=bags,
    remote_app=bags,
    remote_units=st.dictionaries(st.sampled_from(["p/0", "p/1", "p/10"]), up_bags | bags),
    tries=tries,
    refusal=st.none()
    | st.builds(
        library._Refusal, st.sampled_from(FINGERPRINTS), st.integers(1, 90), st.integers(0, 2**40)
    ),
    waits_for=st.none() | st.just("the network option"),
    half_in=st.booleans(),
    troubled=st.booleans(),
)


def answer(step: library._Step, data: st.DataObject) -> Any:
    """Draw what the world may answer."""
    match step:
        case library._AskList():
            return data.draw(listings)
        case library._AskLeader() | library._Bootstrap() | library._Join():
            return data.draw(st.booleans())
        case library._Mint(names):
            return data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(TOKENS)))
        case _:
            return None


def play(
    begin: library._Facts, data: st.DataObject
) -> tuple[library._Facts, list[tuple[library._Facts, library._Step]]]:
    """Play a pass; return the facts at its end, and each step with the facts that led to it."""
    now, played = begin, list[tuple[library._Facts, library._Step]]()
    for _ in range(10):
        steps = library._decide(now)
        if not steps:
            return now, played
        for step in steps:
            played.append((now, step))
            now = library._after(now, step, answer(step, data))
    raise AssertionError("a pass has no end")


@given(facts, st.data())
def test_a_pass_ends_and_shows_no_token(begin: library._Facts, data: st.DataObject) -> None:
    end, played = play(begin, data)
    shown = repr((end, played))
    secrets = {
        value
        for bag in (begin.own, begin.remote_app, *begin.remote_units.values())
        for value in bag.values()
        if len(value) > 30 and " " not in value
    }
    assert not [secret for secret in secrets | set(TOKENS) if secret in shown]


@given(facts, st.data())
def test_what_is_done_once_is_done_once(begin: library._Facts, data: st.DataObject) -> None:
    _, played = play(begin, data)
    names = [type(step).__name__ for _, step in played]
    for name in ("_Bootstrap", "_Join", "_Mint", "_AskLeader", "_NoteInCluster", "_TakeNoteBack"):
        assert names.count(name) <= 1
    assert names.count("_Bootstrap") + names.count("_Join") <= 1
    # Before an attempt, after one that failed, and as a member.
    assert names.count("_AskList") <= 3


@given(facts, st.data())
def test_who_may_do_what(begin: library._Facts, data: st.DataObject) -> None:
    _, played = play(begin, data)
    shown = {
        key: value
        for bag in begin.remote_units.values()
        for key, value in bag.items()
        if key.startswith("mirror-") and value != "empty"
    }
    for known, step in played:
        match step:
            case library._Bootstrap():
                assert known.leads
                assert not shown
                assert known.listing == ()
                assert not known.in_cluster
                assert known.waits_for is None
            case library._Join(unit):
                assert begin.remote_units[unit]["mirror"] == "up"
                token = begin.remote_units[unit][f"mirror-{HOSTNAME}"]
                assert token not in ("", "empty", "member", "retired")
                assert not token.startswith("-")
                assert not known.in_cluster
                assert known.listing == ()
                assert known.waits_for is None
            case library._Mint(names):
                assert known.own["mirror"] == "up"
                assert known.in_cluster
                assert known.listing
                assert {it.status for it in known.listing} == {"ONLINE"}
                assert set(names) <= {"h0", "h2"} - {it.name for it in known.listing}
            case library._NoteInCluster():
                in_list = [it for it in known.listing or () if it.name == HOSTNAME]
                assert known.entered or in_list[0].role not in ("", "PENDING")
            case library._TakeNoteBack():
                assert known.listing
                assert HOSTNAME not in {it.name for it in known.listing}
            case library._Delete(key) if key.startswith("mirror-"):
                assert begin.remote_app["protocol"] == "2"
            case library._Set(key):
                assert key in ("hostname", "protocol", "member", "refused", "mirror")
            case _:
                pass


@given(facts, st.data())
def test_a_pass_that_is_cut_off_is_made_up_for(begin: library._Facts, data: st.DataObject) -> None:
    """Juju drops what a hook wrote that failed; what it did to the cluster stays."""
    begin = library.replace(begin, waits_for=None)
    _, played = play(begin, data)
    cut = data.draw(st.integers(0, len(played)))
    entered = [known for known, _ in played[:cut] if known.entered]
    if not entered:
        return
    again, done = begin, list[library._Step]()
    inside = (library.Member("h0", "voter", "ONLINE"), library.Member(HOSTNAME, "voter", "ONLINE"))
    while steps := library._decide(again):
        for step in steps:
            done.append(step)
            is_list = isinstance(step, library._AskList)
            again = library._after(again, step, inside if is_list else answer(step, data))
    assert again.in_cluster
    assert again.own["member"] == HOSTNAME
    assert not [step for step in done if isinstance(step, library._Bootstrap | library._Join)]


def play_in_vain(facts: library._Facts) -> library._Facts:
    """Play a pass in which every command fails."""
    while steps := library._decide(facts):
        for step in steps:
            answer = () if isinstance(step, library._AskList) else False
            facts = library._after(facts, step, answer)
    return facts


def test_a_host_that_can_never_join_costs_few_tokens() -> None:
    """The mirror shows the next token as soon as one is refused."""
    for offset in range(0, 300, 37):
        minted, own = list[int](), {"hostname": HOSTNAME, "protocol": "2"}
        tries, refusal = dict[str, library._Try](), None
        for now in range(0, 24 * 60 * 60, 300):
            # Each token is shown in an event of its own; update-status comes every five minutes.
            for moment, event in ((now, "changed"), (now + offset, "update-status")):
                if not minted or own.get("refused") == library._fingerprint(f"{len(minted)}"):
                    minted.append(moment)
                end = play_in_vain(
                    library._Facts(
                        HOSTNAME,
                        "microovn",
                        event=event,
                        now=moment,
                        own=own,
                        remote_units={
                            "p/0": {"mirror": "up", f"mirror-{HOSTNAME}": f"{len(minted)}"}
                        },
                        tries=tries,
                        refusal=refusal,
                    )
                )
                own, tries, refusal = dict(end.own), dict(end.tries), end.refusal
        assert len([moment for moment in minted if moment <= 600]) in (2, 3)
        assert 8 <= len(minted) <= 10


@given(facts, st.data())
def test_the_order_of_units_and_keys_does_not_matter(
    begin: library._Facts, data: st.DataObject
) -> None:
    def turned(bag: Any) -> Any:
        return dict(reversed(list(bag.items())))

    units = {unit: turned(bag) for unit, bag in begin.remote_units.items()}
    other = library.replace(begin, own=turned(begin.own), remote_units=turned(units))
    assert library._decide(begin) == library._decide(other)


@dataclass(frozen=True)
class Random(library.ClusterCommand):
    """A command that does what hypothesis likes."""

    command: tuple[str, ...] = ()
    data: Any = field(default=None, compare=False)

    def _act(self) -> None:
        if self.data.draw(st.booleans()):
            raise library.CommandFailed("refused")

    def list(self) -> tuple[library.Member, ...]:
        self._act()
        return self.data.draw(listings)

    def bootstrap(self, arguments: Iterable[str] = ()) -> None:
        self._act()

    def join(self, token: str, arguments: Iterable[str] = ()) -> None:
        self._act()

    def add(self, name: str) -> str:
        self._act()
        return self.data.draw(st.sampled_from(TOKENS))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), begin=facts)
def test_a_hook_never_fails_and_never_logs_a_token(
    data: st.DataObject,
    begin: library._Facts,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    caplog.set_level(logging.DEBUG)

    class Charm(ops.CharmBase):
        def __init__(self, framework: ops.Framework):
            super().__init__(framework)
            command = Random(data=data)
            self.cluster = library.TokenConsumer(self, "cluster", command, hostname=HOSTNAME)

    ctx = testing.Context(Charm, meta=META)
    units = dict(enumerate(dict(bag) for bag in begin.remote_units.values()))
    related = relation(dict(begin.own), units or {0: {}}, dict(begin.remote_app))
    before = testing.State(leader=begin.leads, relations=[related])
    before = ctx.run(ctx.on.relation_changed(related, remote_unit=0), before)
    before = ctx.run(ctx.on.update_status(), before)
    related = before.get_relation(related.id)
    ctx.run(ctx.on.relation_departed(related, remote_unit=0, departing_unit=0), before)
    written = caplog.text + "".join(record.message for record in ctx.juju_log)
    written += "".join(str(status) for status in ctx.unit_status_history)
    assert not [token for token in TOKENS if token in written]
