# Copyright 2026 Ubuntu
# See LICENSE file for licensing details.

"""Make a microcluster charm form its cluster through the token distributor.

The consumer's side of the interface `worker-cluster`, for machine charms with Python 3.10 or newer
and ops 2.17 or newer, also ops 3. Declare the endpoint in `charmcraft.yaml`. A host can be in one
cluster, so say `limit: 1`:

    requires:
      cluster:
        interface: worker-cluster
        limit: 1

This is a whole charm:

    import subprocess

    import ops
    from charms.microcluster_token_distributor.v1.token_distributor import TokenConsumer


    class MyCharm(ops.CharmBase):
        def __init__(self, framework: ops.Framework):
            super().__init__(framework)
            self.cluster = TokenConsumer(self, "cluster", ["microovn", "cluster"])
            framework.observe(self.on.install, self._on_install)
            framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)

        def _on_install(self, _: ops.InstallEvent) -> None:
            subprocess.run(["snap", "install", "microovn"], check=True)

        def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
            event.add_status(self.cluster.status)


    if __name__ == "__main__":
        ops.main(MyCharm)

The library announces the host, bootstraps the cluster on one unit, joins the others, and makes
join tokens for further hosts. The charm can observe `cluster.on.joined` and the other events of
`TokenConsumerEvents`. With the package, import from `microcluster_token_consumer` instead.
"""

# How it is built. In every event one pass starts from the present state. `_Facts` is all that a
# pass knows, `_decide` says which steps are due, and `_after` says what is known once a step is
# done. Both are pure, and the pass is over when nothing is due. `TokenConsumer` reads the facts and
# does the steps; `ClusterCommand` runs the command. A pass that is cut off anywhere is repeated by
# the next event: nothing is deferred.
#
# The rules, which comments below refer to. An *up unit* is a remote unit that says `mirror=up`.
#
# 1. Announce `hostname` and `protocol=2`, and `member` while in the cluster. In the cluster is
#    whose `bootstrap` or `join` succeeded, or whose `cluster list` shows its own name with a role.
#    The list is asked before a bootstrap or a join, after one that failed, and in update-status. A
#    list that lacks the own name means that this host is half in: it is left alone.
# 2. Bootstrap as leader of the application, if a unit is up, no remote unit shows a value, and the
#    remote application bag says `may-bootstrap=true`. If it says neither that nor `false`,
#    `bootstrap-app` decides.
# 3. Join with `mirror-<hostname>` of an up unit, once it is a token. A token that failed twice is
#    refused: say so in `refused`, and try on at update-status with growing pauses. A host that
#    refuses one token after another says so with growing pauses, too.
# 4. The communicator is the online voter whose name sorts first. While the list shows no voter, it
#    is who says `mirror=up`, or the only member.
# 5. As communicator, mint for each valid host name whose shown value is `empty` or spent, but for
#    no member, and only while every member is online.
# 6. As communicator say `mirror=up`; later `mirror=down`, once all of this unit's values are shown.
# 7. Delete own values that no unit needs any more, if the provider has the second protocol.
# 8. A token reaches no log, status, exception or file. Only `cluster join` carries one.
#
# docs/integrating.md of the charm microcluster-token-distributor explains them, and the vectors in
# docs/vectors/consumer play them.

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import ops

__all__ = [
    "ClusterBootstrappedEvent",
    "ClusterCommand",
    "ClusterJoinedEvent",
    "ClusterPreBootstrapEvent",
    "ClusterPreJoinEvent",
    "CommandFailed",
    "CommandHung",
    "Member",
    "TokenConsumer",
    "TokenConsumerEvents",
    "TokenGeneratedEvent",
    "TokenRefusedEvent",
    "read_members",
]

# The unique Charmhub library identifier, never change it.
LIBID = "ec674038842544928b4e21ee6e199666"
# Increment this major API version when introducing breaking changes.
LIBAPI = 1
# Increment this patch version before using `charmcraft publish-lib`.
LIBPATCH = 1

logger = logging.getLogger(__name__)

_PREFIX = "mirror-"
_EMPTY = "empty"  # The placeholder: no value yet, please mint.
_NOT_TOKENS = frozenset({"", _EMPTY, "member", "retired"})

_REFUSALS = 2  # A token is refused when it failed this often (rule 3).
_FIRST_PAUSE = 5 * 60  # Seconds of the first pause of a host that is refused; each pause doubles.
_LONGEST_PAUSE = 6 * 60 * 60

_UPDATE_STATUS = "update-status"
_HALF_IN = (
    "blocked",
    "no member lists this host: it is half in, see how-to/recover.md of the token distributor",
)

# --- What a pass knows -----------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One entry of `cluster list`, in microcluster's words."""

    name: str
    role: str
    """`voter`, `stand-by`, `spare`, or `PENDING` until the cluster's next heartbeat."""
    status: str
    """`ONLINE` if it answered."""


@dataclass(frozen=True)
class _Try:
    """How joining with one token went so far."""

    failures: int
    last: int
    """When it failed last, in seconds since 1970."""


@dataclass(frozen=True)
class _Refusal:
    """What this host said last in `refused`."""

    fingerprint: str
    count: int
    """How many tokens it has refused since it is outside the cluster."""
    last: int
    """When it said so, in seconds since 1970."""


@dataclass(frozen=True)
class _Facts:
    """All that a pass may know. The bags hold tokens, so they do not show in its text."""

    hostname: str
    application: str
    event: str = "changed"
    """Kind of the event: `created`, `joined`, `changed`, `leader-elected`, `config-changed`,
    `start`, `update-status` or `upgrade-charm`."""
    now: int = 0
    """Seconds since 1970."""
    leads: bool = False
    """Whether this unit leads its application. Of no interest once it is in the cluster."""
    waits_for: str | None = None
    """What the charm waits for before this unit may bootstrap or join."""
    in_cluster: bool = False
    """Whether this unit noted that it is in the cluster."""
    half_in: bool = False
    """Whether the last list lacked this host."""
    own: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """This unit's bag."""
    remote_app: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    remote_units: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]], repr=False
    )
    tries: Mapping[str, _Try] = field(default_factory=dict[str, _Try])
    """Tokens that this unit failed to join with, by fingerprint."""
    refusal: _Refusal | None = None
    troubled: bool = False
    """Whether this unit, as a member, said last that no token can be made."""

    # What the steps of this pass found out.
    listing: tuple[Member, ...] | None = None
    """Answer of `cluster list`; none if it was not asked, no members if it failed."""
    failed: str | None = None
    """What failed in this pass: `bootstrap`, or the fingerprint of a token."""
    entered: str | None = None
    """Which command of this pass led into the cluster: `bootstrap` or `join`."""
    done: frozenset[str] = frozenset()
    """Steps and events that happen once in a pass."""
    said: tuple[str, str] | None = None
    """The status that this pass said last, with its message."""


# --- What a pass can do ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Set:
    """Write a key of this unit's bag. Never used for tokens."""

    key: str
    value: str


@dataclass(frozen=True)
class _Delete:
    """Delete a key of this unit's bag."""

    key: str


@dataclass(frozen=True)
class _AskList:
    """Run `cluster list`. Answer: the members, none if it failed."""


@dataclass(frozen=True)
class _AskLeader:
    """Ask Juju again whether this unit leads. Answer: yes or no."""


@dataclass(frozen=True)
class _Bootstrap:
    """Run `cluster bootstrap`. Answer: whether it worked."""


@dataclass(frozen=True)
class _Join:
    """Run `cluster join` with the host's value in the bag of `unit`. Answer: whether it worked."""

    unit: str


@dataclass(frozen=True)
class _Mint:
    """Run `cluster add` for each name and write what it prints. Answer: tokens by name."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class _NoteInCluster:
    """Remember that this unit is in the cluster."""


@dataclass(frozen=True)
class _TakeNoteBack:
    """Remember that this unit is not in the cluster."""


@dataclass(frozen=True)
class _Emit:
    """Emit an event of `TokenConsumerEvents`."""

    event: str
    bootstrapper: bool | None = None
    """Of `joined`: whether this unit founded the cluster."""
    fingerprint: str | None = None
    """Of `token_refused`: of which token."""


@dataclass(frozen=True)
class _Say:
    """Say a status: `active`, `blocked`, `maintenance` or `waiting`."""

    status: str
    message: str


_Step = (
    _Set
    | _Delete
    | _AskList
    | _AskLeader
    | _Bootstrap
    | _Join
    | _Mint
    | _NoteInCluster
    | _TakeNoteBack
    | _Emit
    | _Say
)

# --- Deciding: pure --------------------------------------------------------------------------


def _decide(facts: _Facts) -> tuple[_Step, ...]:
    """Return the steps that are due, in order; none when the pass is over.

    Do them in order and hand each to `_after`, then decide again. Where an answer matters to what
    follows, its step is the last one.
    """
    if facts.failed is not None and facts.listing is None:
        # An attempt that failed may have failed because an earlier one worked (rule 1).
        return (_AskList(),)
    due = _serve(facts) if facts.in_cluster else _enter(facts)
    return (*_announce(facts), *due)


def _after(facts: _Facts, step: _Step, answer: Any = None) -> _Facts:
    """Return the facts once `step` is done and was answered as the step's class says."""
    match step:
        case _Set(key, value):
            said = replace(facts, own={**facts.own, key: value})
            return replace(said, refusal=_said_again(facts, value)) if key == "refused" else said
        case _Delete(key):
            return replace(facts, own={it: facts.own[it] for it in facts.own if it != key})
        case _AskList():
            # The daemon of a host that has just come in may be behind for a moment.
            is_lacking = bool(answer) and _role(answer, facts.hostname) is None
            return replace(facts, listing=answer, half_in=is_lacking and facts.entered is None)
        case _AskLeader():
            return replace(facts, leads=answer, done=facts.done | {"ask-leader"})
        case _Bootstrap() if answer:
            return replace(facts, listing=None, entered="bootstrap")
        case _Bootstrap():
            return replace(facts, listing=None, failed="bootstrap")
        case _Join() if answer:
            return replace(facts, listing=None, entered="join")
        case _Join(unit):
            failed = _fingerprint(facts.remote_units[unit][_PREFIX + facts.hostname])
            return replace(facts, listing=None, failed=failed, tries=_failed_again(facts, failed))
        case _Mint():
            minted = {_PREFIX + name: token for name, token in answer.items()}
            return replace(facts, own={**facts.own, **minted}, done=facts.done | {"mint"})
        case _NoteInCluster():
            return replace(
                facts, in_cluster=True, half_in=False, failed=None, tries={}, refusal=None
            )
        case _TakeNoteBack():
            return replace(facts, in_cluster=False)
        case _Emit(event):
            return replace(facts, done=facts.done | {event})
        case _:
            is_trouble = facts.in_cluster and step.status != "active"
            return replace(facts, said=(step.status, step.message), troubled=is_trouble)


def _fingerprint(value: str) -> str:
    """Return 8 hexadecimal digits by which values can be compared without showing them.

    FNV-1a of 64 bits over UTF-8, its halves combined with exclusive or.
    """
    digest = 0xCBF29CE484222325
    # A databag can hold half a surrogate pair, which UTF-8 cannot.
    for byte in value.encode(errors="surrogatepass"):
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest >> 32 ^ digest & 0xFFFFFFFF:08x}"


def _is_host_name(name: str) -> bool:
    """Return whether microcluster can mint for this name.

    1 to 255 characters; labels of 1 to 63 letters, digits and hyphens with dots between them, no
    hyphen at an end of one, none of digits only (microcluster's own check of `cluster add`).
    """
    label = r"(?!-)(?![0-9]+(?:\.|\Z))[-a-zA-Z0-9]{1,63}(?<!-)"
    return len(name) <= 255 and re.fullmatch(rf"{label}(?:\.{label})*", name) is not None


def _role(listing: Iterable[Member], name: str) -> str | None:
    """Return the role that the list gives a member; none of who is not in it."""
    return next((it.role for it in listing if it.name == name), None)


def _is_communicator(listing: Sequence[Member], hostname: str, says_up: bool) -> bool:
    """Return whether this member speaks for the cluster (rule 4)."""
    voters = [it for it in listing if it.role == "voter"]
    if voters:
        return min((it.name for it in voters if it.status == "ONLINE"), default=None) == hostname
    # All are pending until a heartbeat, also for a while after the only voter has left.
    return _role(listing, hostname) is not None and (says_up or len(listing) == 1)


def _pause(doublings: int) -> int:
    """Return the seconds that a host that is refused pauses (rule 3)."""
    return min(_FIRST_PAUSE << min(max(doublings, 0), 10), _LONGEST_PAUSE)


def _is_over(pause: int, since: int, now: int) -> bool:
    """Return whether a pause is over. A clock that was set back must not make it longer."""
    return not 0 <= now - since < pause


def _announce(facts: _Facts) -> list[_Step]:
    """Say who this is, and what it cannot join with (rules 1 and 3)."""
    if facts.in_cluster:
        wanted = {"hostname": facts.hostname, "protocol": "2", "member": facts.hostname}
        # It is of no use any more, and whoever reads the bag could take it for true.
        unwanted = "refused"
    else:
        # No token is made for a host that cannot use one yet.
        is_ready = facts.waits_for is None
        wanted = {"hostname": facts.hostname, "protocol": "2"} if is_ready else {}
        unwanted = "member" if facts.half_in else ""
    steps: list[_Step] = [
        _Set(key, value) for key, value in wanted.items() if facts.own.get(key) != value
    ]
    if unwanted in facts.own:
        steps.append(_Delete(unwanted))
    if facts.half_in:
        steps += _lower(facts, _shown(facts))
    return steps if facts.in_cluster else [*steps, *_refuse(facts)]


def _refuse(facts: _Facts) -> list[_Step]:
    """Say with which token this host cannot join (rule 3)."""
    refused, said = _refused(facts), facts.refusal
    if refused is None or facts.listing != () or facts.own.get("refused") == refused:
        # A list that works decides: a host whose role is pending may be in a moment later.
        return []
    if said is not None and said.fingerprint == refused:
        # This relation is new.
        return [_Set("refused", refused)]
    if said is not None and (
        # Each new token costs every unit a hook, so that it takes a failure that is as new.
        facts.failed is None or not _is_over(_pause(said.count - 1), said.last, facts.now)
    ):
        return []
    return [_Set("refused", refused), _Emit("token_refused", fingerprint=refused)]


def _said_again(facts: _Facts, refused: str) -> _Refusal:
    """Return what is known of refusals once this one is said."""
    said = facts.refusal or _Refusal("", 0, 0)
    if said.fingerprint == refused:
        return said
    return _Refusal(refused, said.count + 1, facts.now)


def _enter(facts: _Facts) -> list[_Step]:
    """Get into the cluster (rules 1 to 3)."""
    listing = facts.listing or ()
    bootstraps, source = _may_bootstrap(facts), _joins_with(facts)
    if facts.entered is not None or _role(listing, facts.hostname) not in (None, "", "PENDING"):
        # A cluster of others was not founded here.
        founded = facts.entered == "bootstrap" or (bootstraps and len(listing) == 1)
        # Observers of the events ask whether this unit is in the cluster.
        return [
            _NoteInCluster(),
            *([_Emit("bootstrapped")] if founded else []),
            _Emit("joined", bootstrapper=founded),
            _Say("active", ""),
        ]
    is_due = bootstraps or source is not None
    asks = is_due or facts.tries or facts.half_in or facts.event == _UPDATE_STATUS
    if facts.listing is None and asks:
        return [_AskList()]
    # Where the list works, the daemon has a database: it takes no bootstrap and no join.
    if not is_due or listing or facts.failed is not None:
        status = _outside(facts)
        return [] if facts.said == status else [_Say(*status)]
    if source is not None:
        return [_Say("maintenance", "joining the cluster"), _Emit("prejoin"), _Join(source)]
    if "ask-leader" in facts.done:
        return [_Bootstrap()]
    # What the charm does before it bootstraps may take longer than the 30 seconds for which Juju
    # promises leadership, so that it is asked again.
    return [
        _Say("maintenance", "bootstrapping the cluster"),
        _Emit("prebootstrap"),
        _AskLeader(),
    ]


def _outside(facts: _Facts) -> tuple[str, str]:
    """Return what to say while this unit is not in the cluster and has nothing to do for it."""
    if facts.half_in:
        return _HALF_IN
    if facts.listing:
        return "waiting", "waiting for the cluster to give this host a role"
    if facts.waits_for is not None:
        return "waiting", facts.waits_for
    if facts.failed == "bootstrap":
        return "blocked", "cannot bootstrap the cluster"
    if refused := _refused(facts):
        return "waiting", f"join token {refused} was refused, waiting for another"
    if facts.failed is not None:
        return "waiting", "joining the cluster failed, trying again"
    if not _up_bags(facts):
        return "waiting", "waiting for the token distributor"
    return "waiting", "waiting for a join token"


def _serve(facts: _Facts) -> list[_Step]:
    """Mint for others as communicator, and delete what no unit needs (rules 4 to 7)."""
    shown = _shown(facts)
    steps = _prune(facts, shown)
    if facts.listing is None:
        return [*steps, _AskList()]
    if facts.half_in:
        return [_TakeNoteBack()]
    members = {facts.hostname, *(it.name for it in facts.listing)}
    waiting = tuple(
        name for name in sorted(shown.keys() - members) if _wants_token(facts, name, shown[name])
    )
    trouble = _trouble(facts.listing) if waiting else None
    says_up = facts.own.get("mirror") == "up"
    if _is_communicator(facts.listing, facts.hostname, says_up):
        if not says_up:
            steps.append(_Set("mirror", "up"))
        if waiting and trouble is None and "mint" not in facts.done:
            steps.append(_Mint(waiting))
    elif facts.listing:
        steps += _lower(facts, shown)
    if trouble is not None and facts.said != trouble:
        steps.append(_Say(*trouble))
    elif trouble is None and facts.troubled:
        steps.append(_Say("active", ""))
    return steps


def _trouble(listing: Iterable[Member]) -> tuple[str, str] | None:
    """Return why nobody mints for the hosts that wait (rule 5).

    While a member is dead each join fails, and the second one ends the cluster.
    """
    if not listing:
        return "waiting", "a host waits for a token, and `cluster list` fails"
    for it in sorted(listing, key=lambda it: it.name):
        if it.status != "ONLINE":
            remedy = f"if it is lost, run `cluster remove {it.name} --force`"
            return "blocked", f"no host can join while {it.name} is {it.status}: {remedy}"
    return None


def _up_bags(facts: _Facts) -> list[tuple[str, Mapping[str, str]]]:
    """Return the up units with their bags, by name, so that everybody goes through in one order."""
    return [item for item in sorted(facts.remote_units.items()) if item[1].get("mirror") == "up"]


def _shown(facts: _Facts) -> dict[str, list[str]]:
    """Return each name in the mirror with all values that up units show for it."""
    shown: dict[str, list[str]] = {}
    for _, bag in _up_bags(facts):
        for key, value in bag.items():
            if key.startswith(_PREFIX):
                shown.setdefault(key[len(_PREFIX) :], []).append(value)
    return shown


def _spent(facts: _Facts, name: str) -> set[str]:
    """Return fingerprints of tokens of this name that no longer serve, by any up unit's word."""
    bags = (bag for _, bag in _up_bags(facts))
    return {word for bag in bags for word in bag.get(f"spent-{name}", "").split()}


def _is_spent(value: str, spent: set[str]) -> bool:
    return bool(spent) and _fingerprint(value) in spent


def _is_token(value: str) -> bool:
    """Return whether a host can join with this value.

    A value that begins with a hyphen would be read as an option of `cluster join`.
    """
    return value not in _NOT_TOKENS and not value.startswith("-")


def _may_bootstrap(facts: _Facts) -> bool:
    """Return whether this unit has to found the cluster (rule 2)."""
    if facts.waits_for is not None or not facts.leads or not _up_bags(facts):
        return False
    for bag in facts.remote_units.values():
        # Any value is the sign of a cluster, also in the bag of a unit that is not up.
        if any(key.startswith(_PREFIX) and value != _EMPTY for key, value in bag.items()):
            return False
    word = facts.remote_app.get("may-bootstrap")
    if word in ("true", "false"):
        return word == "true"
    return facts.remote_app.get("bootstrap-app") == facts.application


def _tokens(facts: _Facts) -> list[tuple[str, str]]:
    """Return the up units that show a token for this host, each with its fingerprint."""
    values = ((unit, bag.get(_PREFIX + facts.hostname, _EMPTY)) for unit, bag in _up_bags(facts))
    return [(unit, _fingerprint(value)) for unit, value in values if _is_token(value)]


def _joins_with(facts: _Facts) -> str | None:
    """Return the unit whose token is to be tried now, if any (rule 3).

    Of several tokens one that no up unit calls spent, then the one that failed least.
    """
    spent = _spent(facts, facts.hostname)

    def promise(candidate: tuple[str, str]) -> tuple[bool, int, int]:
        tried = facts.tries.get(candidate[1], _Try(failures=0, last=0))
        return candidate[1] in spent, tried.failures, tried.last

    best = min(_tokens(facts), key=promise, default=None)
    if best is None or facts.waits_for is not None:
        return None
    tried = facts.tries.get(best[1])
    if tried is None or tried.failures < _REFUSALS:
        return best[0]
    pause = _pause(tried.failures - _REFUSALS)
    is_due = facts.event == _UPDATE_STATUS and _is_over(pause, tried.last, facts.now)
    return best[0] if is_due else None


def _refused(facts: _Facts) -> str | None:
    """Return the fingerprint of the shown token that failed last of those refused (rule 3)."""
    tried = [(facts.tries[it].last, it) for _, it in _tokens(facts) if it in facts.tries]
    refused = [(last, it) for last, it in tried if facts.tries[it].failures >= _REFUSALS]
    return max(refused)[1] if refused else None


def _failed_again(facts: _Facts, failed: str) -> dict[str, _Try]:
    """Return the tries with one more failure, without those of tokens no longer shown."""
    shown = {it for _, it in _tokens(facts)}
    before = facts.tries.get(failed, _Try(failures=0, last=0))
    kept = {it: tried for it, tried in facts.tries.items() if it in shown}
    return {**kept, failed: _Try(before.failures + 1, facts.now)}


def _wants_token(facts: _Facts, name: str, values: Sequence[str]) -> bool:
    """Return whether the communicator has to mint for this name (rule 5)."""
    if not _is_host_name(name):
        return False
    spent = _spent(facts, name)
    if any(value != _EMPTY and not _is_spent(value, spent) for value in values):
        return False
    own = facts.own.get(_PREFIX + name, _EMPTY)
    return own == _EMPTY or _is_spent(own, spent)


def _lower(facts: _Facts, shown: Mapping[str, Sequence[str]]) -> list[_Step]:
    """Say `mirror=down` once the mirror has a value for each name in this unit's bag (rule 6).

    A spent value is one, too: the communicator that follows replaces it.
    """
    names = (key[len(_PREFIX) :] for key in facts.own if key.startswith(_PREFIX))
    all_shown = all(any(value != _EMPTY for value in shown.get(name, ())) for name in names)
    return [_Set("mirror", "down")] if all_shown and facts.own.get("mirror") == "up" else []


def _prune(facts: _Facts, shown: Mapping[str, Sequence[str]]) -> list[_Step]:
    """Delete own values that no unit needs any more (rule 7).

    A provider of the first protocol takes any value that it lacks from here, at any time.
    """
    if facts.remote_app.get("protocol") != "2":
        return []

    def is_over(name: str, own: str) -> bool:
        values = shown.get(name, ())
        if "member" in values or "retired" in values:
            return True
        spent = _spent(facts, name)
        replaced = any(value != _EMPTY and not _is_spent(value, spent) for value in values)
        return replaced and _is_spent(own, spent)

    own = sorted((key, value) for key, value in facts.own.items() if key.startswith(_PREFIX))
    return [_Delete(key) for key, value in own if is_over(key[len(_PREFIX) :], value)]


# --- The cluster's command -------------------------------------------------------------------


class CommandFailed(Exception):
    """A cluster command did not do what was asked; the message holds no token."""


class CommandHung(CommandFailed):
    """A cluster command did not end within its time."""


def read_members(text: str) -> tuple[Member, ...]:
    """Read what `cluster list` of microcluster prints: an array of objects.

    Raises:
        ValueError: it is something else.
        RecursionError: it is nested beyond reason.
    """
    match json.loads(text):
        case [*entries]:
            return tuple(_read_member(entry) for entry in entries)
        case _:
            raise ValueError("not an array")


def _read_member(entry: Any) -> Member:
    match entry:
        case {"name": str(name), "role": str(role), "status": str(status)}:
            return Member(name, role, status)
        case _:
            raise ValueError("not a member")


@dataclass(frozen=True)
class ClusterCommand:
    """The command that founds and grows a cluster on this machine.

    The defaults fit what is built on microcluster; another program fits by its arguments.
    Every method raises `CommandFailed`, and nothing else.
    """

    command: Sequence[str]
    """What all command lines begin with, such as `["microovn", "cluster"]`."""
    list_arguments: Sequence[str] = ("list", "-f", "json")
    bootstrap_arguments: Sequence[str] = ("bootstrap",)
    join_arguments: Sequence[str] = ("join",)
    """The token comes next."""
    add_arguments: Sequence[str] = ("add",)
    """The joiner's name comes next; the token is all that it prints."""
    remove_arguments: Sequence[str] = ("remove",)
    """The member's name comes next."""
    force_arguments: Sequence[str] = ("--force",)
    """Follow the name of a member that is removed whatever the others say."""
    read_members: Callable[[str], tuple[Member, ...]] = read_members
    """Reads what `list` printed; raises `ValueError` for what it cannot read."""
    short_limit: float = 30
    """Seconds that `list` and `add` may take. microcluster itself gives a list 30."""
    long_limit: float = 600
    """Seconds that `bootstrap` and `join` may take."""
    remove_limit: float = 600
    """Seconds that `remove` may take."""

    def list(self) -> tuple[Member, ...]:
        """Return the members; it fails on a machine that is in no cluster."""
        text = self._run("list", self.list_arguments, self.short_limit)
        try:
            members = self.read_members(text)
        except (ValueError, RecursionError):
            # No cause: its text may quote what was printed.
            members = ()
        if not members:
            raise CommandFailed("`list` printed no members that can be read")
        return members

    def bootstrap(self, arguments: Iterable[str] = ()) -> None:
        """Found a cluster."""
        self._run("bootstrap", (*self.bootstrap_arguments, *arguments), self.long_limit)

    def join(self, token: str, arguments: Iterable[str] = ()) -> None:
        """Join the cluster that made this token."""
        self._run("join", (*self.join_arguments, token, *arguments), self.long_limit)

    def add(self, name: str) -> str:
        """Return a new token for a host of this name; it serves once, and by default for 3 hours.

        Fails while an unused token of that name is outstanding.
        """
        token = self._run("add", (*self.add_arguments, name), self.short_limit).strip()
        if not _is_token(token) or len(token.split()) != 1:
            raise CommandFailed("`add` printed no token")
        return token

    def remove(self, name: str, force: bool = False) -> None:
        """Take a member out of the cluster."""
        forced = self.force_arguments if force else ()
        self._run("remove", (*self.remove_arguments, name, *forced), self.remove_limit)

    def _run(self, deed: str, arguments: Iterable[str], limit: float) -> str:
        """Return what the command prints. The message of a failure names the deed only."""
        try:
            process = subprocess.Popen(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # With its children in a group of its own, no child outlives a command that hangs.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such arguments"
            failure = CommandFailed(f"`{deed}` cannot be started: {reason}")
        else:
            with process:
                try:
                    stdout, stderr = process.communicate(timeout=limit)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    failure = CommandHung(f"`{deed}` did not end within {limit:g} seconds")
                else:
                    if process.returncode == 0:
                        return stdout.decode(errors="replace")
                    failure = CommandFailed(
                        f"`{deed}` failed with {process.returncode}: {_without_secrets(stderr)}"
                    )
        # Raised out here, where no exception that knows the arguments is its context.
        raise failure


def _without_secrets(output: bytes) -> str:
    """Return the beginning of what a command complained about, without words as long as tokens."""
    text = re.sub(r"[-\w+/=]{32,}", "[...]", output.decode(errors="replace"))
    return " ".join(text.split())[:500]


# --- In a charm ------------------------------------------------------------------------------


class ClusterBootstrappedEvent(ops.EventBase):
    """This unit founded the cluster; `joined` follows."""


class ClusterJoinedEvent(ops.EventBase):
    """This unit is in the cluster."""

    def __init__(self, handle: ops.Handle, bootstrapper: bool):
        super().__init__(handle)
        self.bootstrapper = bootstrapper
        """Whether it founded the cluster."""

    def snapshot(self) -> dict[str, Any]:
        """Return what has to outlive this dispatch if the event is deferred."""
        return {"bootstrapper": self.bootstrapper}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take back a snapshot; one of the library's major version 0 is empty."""
        self.bootstrapper = bool(snapshot.get("bootstrapper", False))


class ClusterPreBootstrapEvent(ops.EventBase):
    """This unit is about to found the cluster."""


class ClusterPreJoinEvent(ops.EventBase):
    """This unit is about to join the cluster; comes again with every try."""


class TokenGeneratedEvent(ops.EventBase):
    """This unit made a join token for another host."""


class TokenRefusedEvent(ops.EventBase):
    """The cluster refused this host's join token twice, and the host asks for another one."""

    def __init__(self, handle: ops.Handle, fingerprint: str):
        super().__init__(handle)
        self.fingerprint = fingerprint
        """Of the token, as the distributor's action `show-mirror` prints it."""

    def snapshot(self) -> dict[str, Any]:
        """Return what has to outlive this dispatch if the event is deferred."""
        return {"fingerprint": self.fingerprint}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take back a snapshot."""
        self.fingerprint = snapshot["fingerprint"]


class TokenConsumerEvents(ops.ObjectEvents):
    """Events of `TokenConsumer`."""

    bootstrapped = ops.EventSource(ClusterBootstrappedEvent)
    joined = ops.EventSource(ClusterJoinedEvent)
    prebootstrap = ops.EventSource(ClusterPreBootstrapEvent)
    prejoin = ops.EventSource(ClusterPreJoinEvent)
    token_generated = ops.EventSource(TokenGeneratedEvent)
    token_refused = ops.EventSource(TokenRefusedEvent)


class TokenConsumer(ops.Object):
    """Forms a cluster through the token distributor."""

    # The class name, its key and `_stored.in_cluster` make up the path under which major version 0
    # of the library keeps its note: a charm that is refreshed from it knows that it is in the
    # cluster. What that version has deferred waits for methods that are not here, so that ops drops
    # it, and the pass of the same dispatch does what is due.

    on = TokenConsumerEvents()  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    _stored = ops.StoredState()  # type: ignore[no-untyped-call]

    def __init__(
        self,
        charm: ops.CharmBase,
        relation_name: str,
        command_name: Sequence[str] | ClusterCommand,
        *,
        hostname: str | None = None,
        ready: Callable[[], str | None] = lambda: None,
        bootstrap_args_func: Callable[[], Sequence[str]] = list,
        join_args_func: Callable[[], Sequence[str]] = list,
        leave_on_remove: bool | Literal["force"] = True,
        sets_status: bool = True,
    ):
        """Observe the events of the charm that can be a reason to act.

        Args:
            charm: whose unit forms the cluster.
            relation_name: the endpoint of interface `worker-cluster`.
            command_name: what the cluster's command lines begin with, or the command itself.
            hostname: the name under which this machine joins; the kernel's node name by default,
                which microcluster takes.
            ready: returns None once this unit may bootstrap or join, and before that what it waits
                for, in words for the status. It is asked each time. A host that was never ready is
                not announced, so that no token is made for it and no other host waits for it.
            bootstrap_args_func: returns what follows `cluster bootstrap`.
            join_args_func: returns what follows the token in `cluster join`.
            leave_on_remove: whether a unit that is removed takes itself out of the cluster;
                `"force"` adds the command's `force_arguments`. The command's `remove_limit` says
                how long that may take.
            sets_status: whether the library sets the unit's status while the unit is outside the
                cluster, when it comes in, and while no token can be made for a host that waits.
                Otherwise, and in charms that observe `collect_unit_status`, add `status`.
        """
        super().__init__(charm, relation_name)
        self.relation_name = relation_name
        if not isinstance(command_name, ClusterCommand):
            command_name = ClusterCommand(tuple(command_name))
        self.cluster = command_name
        """The command."""
        self.hostname = hostname or os.uname().nodename
        self.bootstrap_args_func = bootstrap_args_func
        """As in the constructor; charms of major version 0 assign it."""
        self.join_args_func = join_args_func
        """As in the constructor; charms of major version 0 assign it."""
        self._charm = charm
        self._ready = ready
        self._leave_on_remove = leave_on_remove
        self._sets_status = sets_status
        self._stored.set_default(in_cluster=False, half_in=False, tries={}, refusal=[], said=[])

        relation = charm.on[relation_name]
        # Not in departed and broken: what is being taken away is nothing to act on.
        for event in (
            relation.relation_created,
            relation.relation_joined,
            relation.relation_changed,
            charm.on.leader_elected,
            charm.on.config_changed,
            charm.on.start,
            charm.on.update_status,
            charm.on.upgrade_charm,
        ):
            self.framework.observe(event, self._on_event)
        self.framework.observe(charm.on.remove, self._on_remove)

    @property
    def in_cluster(self) -> bool:
        """Whether this unit is in the cluster, as far as it noted."""
        return bool(self._stored.in_cluster)

    @property
    def status(self) -> ops.StatusBase:
        """What to show of this library, in any event; active while there is nothing to say."""
        said = cast("Sequence[str]", self._stored.said)
        if not self._relations():
            if self.in_cluster:
                return ops.ActiveStatus()
            return ops.BlockedStatus(f"needs a relation of endpoint {self.relation_name}")
        if not said:
            return ops.ActiveStatus() if self.in_cluster else ops.WaitingStatus("not in a cluster")
        status: ops.StatusBase = ops.StatusBase.from_name(*said)
        return status

    def adopt(self) -> bool:
        """Note that this unit is in the cluster, if its own `cluster list` shows it with a role.

        For a charm that formed its cluster in another way: call it in `upgrade_charm`, before the
        charm is related to the distributor. No event is emitted. Returns whether it is in.
        """
        role = _role(self._list(), self.hostname)
        if not self.in_cluster and role not in (None, "", "PENDING"):
            self._stored.in_cluster, self._stored.said = True, []
        return self.in_cluster

    def _relations(self) -> list[ops.Relation]:
        """Return the relations, oldest first. There are two while one replaces another."""
        relations = self.model.relations[self.relation_name]
        return sorted((it for it in relations if it.active), key=lambda it: it.id)

    def _on_event(self, event: ops.EventBase) -> None:
        kind = event.handle.kind.rpartition("_relation_")[2].replace("_", "-")
        relations = self._relations()
        gone: list[ops.Relation] = []
        for relation in relations:
            try:
                self._pass(relation, kind)
            except _RelationGone as reason:
                logger.info("%s is gone: %s", relation, reason)
                gone.append(relation)
        if gone and gone == relations and not self.in_cluster:
            which = f"{gone[0].name}:{gone[0].id}"
            self._say("blocked", f"Juju refuses relation {which}: remove it and integrate again")

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        if not self.in_cluster or not self._leave_on_remove:
            return
        try:
            self.cluster.remove(self.hostname, force=self._leave_on_remove == "force")
        except CommandFailed as error:
            # microcluster often reports failure where it worked; then the list fails. The last
            # member cannot be removed, and a unit must be able to go.
            if _role(self._list(), self.hostname) is not None:
                logger.warning("cannot leave the cluster: %s", error)

    def _pass(self, relation: ops.Relation, kind: str) -> None:
        """Do what is due until nothing is."""
        facts = self._facts(relation, kind)
        try:
            while steps := _decide(facts):
                for step in steps:
                    logger.debug("%s", step)
                    facts = _after(facts, step, self._do(step, facts, relation))
        finally:
            # Also where the relation goes away: what was tried was tried.
            said = facts.refusal
            self._stored.half_in = facts.half_in
            self._stored.tries = {it: [at.failures, at.last] for it, at in facts.tries.items()}
            self._stored.refusal = [said.fingerprint, said.count, said.last] if said else []

    def _facts(self, relation: ops.Relation, kind: str) -> _Facts:
        tries = cast("Mapping[str, Sequence[int]]", self._stored.tries)
        refusal = cast("tuple[str, int, int]", self._stored.refusal)
        said = cast("Sequence[str]", self._stored.said)
        return _Facts(
            hostname=self.hostname,
            application=self._charm.app.name,
            event=kind,
            now=int(time.time()),
            leads=not self.in_cluster and self._charm.unit.is_leader(),
            waits_for=None if self.in_cluster else self._ready(),
            in_cluster=self.in_cluster,
            half_in=bool(self._stored.half_in),
            own=_read(relation, self._charm.unit),
            remote_app=_read(relation, relation.app),
            remote_units={unit.name: _read(relation, unit) for unit in relation.units},
            tries={it: _Try(*numbers) for it, numbers in tries.items()},
            refusal=_Refusal(*refusal) if refusal else None,
            troubled=self.in_cluster and bool(said) and said[0] != "active",
        )

    def _do(self, step: _Step, facts: _Facts, relation: ops.Relation) -> Any:
        """Do one step and return its answer."""
        match step:
            case _Set(key, value):
                self._write(relation, key, value)
            case _Delete(key):
                # Juju deletes a key whose value is empty.
                self._write(relation, key, "")
            case _AskList():
                return self._list()
            case _AskLeader():
                return self._leads_now()
            case _Bootstrap():
                return self._works(lambda: self.cluster.bootstrap(self.bootstrap_args_func()))
            case _Join(unit):
                token = facts.remote_units[unit][_PREFIX + facts.hostname]
                return self._works(lambda: self.cluster.join(token, self.join_args_func()))
            case _Mint(names):
                return self._mint(names, relation)
            case _NoteInCluster():
                self._stored.in_cluster = True
                logger.info("in the cluster as %s", self.hostname)
            case _TakeNoteBack():
                self._stored.in_cluster = False
                logger.warning("not in the cluster as %s any more", self.hostname)
            case _Emit():
                self._emit(step)
            case _:
                self._say(step.status, step.message)

    def _say(self, status: str, message: str) -> None:
        self._stored.said = [status, message]
        if self._sets_status:
            self._charm.unit.status = ops.StatusBase.from_name(status, message)

    def _emit(self, step: _Emit) -> None:
        match step:
            case _Emit("joined", bootstrapper=bootstrapper):
                self.on.joined.emit(bootstrapper=bootstrapper)
            case _Emit("token_refused", fingerprint=refused):
                self.on.token_refused.emit(fingerprint=refused)
            case _:
                cast("ops.BoundEvent", getattr(self.on, step.event)).emit()

    def _list(self) -> tuple[Member, ...]:
        try:
            return self.cluster.list()
        except CommandFailed as error:
            # Also the ordinary answer of a machine that is in no cluster yet.
            logger.info("%s", error)
            return ()

    def _leads_now(self) -> bool:
        """Ask Juju itself: what ops remembers may be as old as Juju's promise lasts."""
        try:
            tool = subprocess.Popen(["is-leader", "--format=json"], stdout=subprocess.PIPE)
        except OSError:
            return self._charm.unit.is_leader()
        with tool:
            return tool.communicate()[0].strip() == b"true"

    def _works(self, command: Callable[[], None]) -> bool:
        try:
            command()
        except CommandFailed as error:
            logger.error("%s", error)
            return False
        return True

    def _mint(self, names: Iterable[str], relation: ops.Relation) -> dict[str, str]:
        minted: dict[str, str] = {}
        for name in names:
            try:
                token = self.cluster.add(name)
            except CommandHung as error:
                logger.warning("no more tokens for now: %s", error)
                break
            except CommandFailed as error:
                logger.warning("no token for %s: %s", name, error)
                continue
            self._write(relation, _PREFIX + name, token)
            minted[name] = token
            logger.info("made a token for %s", name)
            self.on.token_generated.emit()
        return minted

    def _write(self, relation: ops.Relation, key: str, value: str) -> None:
        try:
            relation.data[self._charm.unit][key] = value
        except ops.ModelError as error:
            raise _RelationGone(_without_secrets(str(error).encode())) from None


class _RelationGone(Exception):
    """Juju refuses a bag of this relation, in whatever words: the relation is gone for this pass.

    It goes on listing some relations that it no longer serves.
    """


def _read(relation: ops.Relation, owner: ops.Unit | ops.Application | None) -> dict[str, str]:
    """Return a copy of a bag; nothing of an application that Juju does not name."""
    try:
        return {} if owner is None else dict(relation.data[owner])
    except ops.ModelError as error:
        raise _RelationGone(_without_secrets(str(error).encode())) from None
