# Copyright 2026 Ubuntu
# See LICENSE file for licensing details.

"""Make a microcluster charm form its cluster through the token distributor.

The consumer's side of the interface `worker-cluster`. Give the charm an endpoint of that interface
with `limit: 1`, and one object:

    self.cluster = TokenConsumer(
        charm=self, relation_name="cluster", command_name=["microovn", "cluster"]
    )

The library announces the host, bootstraps or joins the cluster, and mints join tokens for other
hosts while this unit is the communicator. The charm observes `cluster.on.joined` and the other
events of `TokenConsumerEvents`, and shows `cluster.status`.

How it is built. In every event one pass starts from the present state. `Facts` is all that a pass
knows, `decide` says which steps are due, and `after` says what is known once a step is done. Both
are pure, and the pass is over when nothing is due. `TokenConsumer` reads the facts and does the
steps; `ClusterCommand` runs the command. A pass that is cut off anywhere is repeated by the next
event: nothing is deferred.

The rules, which comments below refer to. An *up unit* is a remote unit that says `mirror=up`.

1. Announce `hostname` and `protocol=2`, and `member` while in the cluster. In the cluster is who
   noted so, or whose `cluster list` works: asked before a bootstrap or a join, after one that
   failed, and where the mirror shows `member` for this host.
2. Bootstrap as leader of the application, if a unit is up, no remote unit shows a value, and the
   remote application bag says `may-bootstrap=true`. If it says neither that nor `false`,
   `bootstrap-app` decides.
3. Join with `mirror-<hostname>` of an up unit, once it is a token. A token that failed twice is
   refused: say so in `refused`, and try on at update-status with growing pauses.
4. The communicator is the online voter whose name sorts first.
5. As communicator, mint for each valid host name whose shown value is `empty` or spent.
6. As communicator say `mirror=up`; later `mirror=down`, once all of this unit's values are shown.
7. Delete own values that no unit needs any more, if the provider has the second protocol.
8. A token reaches no log, status, exception or file. Only `cluster join` carries one.

They are explained in docs/integrating.md of the charm microcluster-token-distributor, and played
as data in docs/vectors/consumer.
"""

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
from typing import Any, cast

import ops

# The unique Charmhub library identifier, never change it.
LIBID = "ec674038842544928b4e21ee6e199666"
# Increment this major API version when introducing breaking changes.
LIBAPI = 1
# Increment this patch version before using `charmcraft publish-lib`.
LIBPATCH = 1

logger = logging.getLogger(__name__)

PREFIX = "mirror-"
EMPTY = "empty"  # The placeholder: no value yet, please mint.
NOT_TOKENS = frozenset({"", EMPTY, "member", "retired"})

REFUSALS = 2  # A token is refused when it failed this often (rule 3).
FIRST_PAUSE = 5 * 60  # Seconds before a refused token is tried on; they double with each try.
LONGEST_PAUSE = 6 * 60 * 60  # Seconds between two tries, at most.
PENDING_LIMIT = 30  # Seconds that a pass waits for this member's own role (rule 4).

UPDATE_STATUS = "update-status"
STOPPED = frozenset({"departed", "broken"})  # Events in which a pass does nothing.

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
class Try:
    """How joining with one token went so far."""

    failures: int
    last: int
    """When it failed last, in seconds since 1970."""


@dataclass(frozen=True)
class Facts:
    """All that a pass may know. The bags hold tokens, so they do not show in its text."""

    hostname: str
    application: str
    event: str = "changed"
    """Kind of the event: `created`, `joined`, `changed`, `departed`, `broken`, `leader-elected`,
    `config-changed`, `start`, `update-status` or `upgrade-charm`."""
    now: int = 0
    """Seconds since 1970."""
    leads: bool = False
    """Whether this unit leads its application. Of no interest once it is in the cluster."""
    in_cluster: bool = False
    """Whether this unit noted that it is in the cluster."""
    own: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """This unit's bag."""
    remote_app: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    remote_units: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]], repr=False
    )
    tries: Mapping[str, Try] = field(default_factory=dict[str, Try])
    """Tokens that this unit failed to join with, by fingerprint."""

    # What the steps of this pass found out.
    listing: tuple[Member, ...] | None = None
    """Answer of `cluster list`; none if it was not asked, no members if it failed."""
    failed: str | None = None
    """What failed in this pass: `bootstrap`, or the fingerprint of a token."""
    entered: str | None = None
    """How this pass came into the cluster: `bootstrap` or `join`."""
    done: frozenset[str] = frozenset()
    """Steps and events that happen once in a pass."""
    said: tuple[str, str] | None = None
    """The status that this pass said last, with its message."""


# --- What a pass can do ----------------------------------------------------------------------


@dataclass(frozen=True)
class Set:
    """Write a key of this unit's bag. Never used for tokens."""

    key: str
    value: str


@dataclass(frozen=True)
class Delete:
    """Delete a key of this unit's bag."""

    key: str


@dataclass(frozen=True)
class AskList:
    """Run `cluster list`. Answer: the members, none if it failed."""


@dataclass(frozen=True)
class Wait:
    """Run `cluster list` until this member has a role, for `PENDING_LIMIT` seconds at most.

    Answer: the last list.
    """


@dataclass(frozen=True)
class AskLeader:
    """Ask Juju again whether this unit leads. Answer: yes or no."""


@dataclass(frozen=True)
class Bootstrap:
    """Run `cluster bootstrap`. Answer: whether it worked."""


@dataclass(frozen=True)
class Join:
    """Run `cluster join` with the host's value in the bag of `unit`. Answer: whether it worked."""

    unit: str


@dataclass(frozen=True)
class Mint:
    """Run `cluster add` for each name and write what it prints. Answer: tokens by name."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class NoteInCluster:
    """Remember that this unit is in the cluster."""


@dataclass(frozen=True)
class Emit:
    """Emit an event of `TokenConsumerEvents`."""

    event: str
    bootstrapper: bool | None = None
    """Of `joined`: whether this unit founded the cluster."""
    fingerprint: str | None = None
    """Of `token_refused`: of which token."""


@dataclass(frozen=True)
class Say:
    """Say a status: `active`, `blocked`, `maintenance` or `waiting`."""

    status: str
    message: str


Step = (
    Set | Delete | AskList | Wait | AskLeader | Bootstrap | Join | Mint | NoteInCluster | Emit | Say
)

# --- Deciding: pure --------------------------------------------------------------------------


def decide(facts: Facts) -> tuple[Step, ...]:
    """Return the steps that are due, in order; none when the pass is over.

    Do them in order and hand each to `after`, then decide again. Where an answer matters to what
    follows, its step is the last one.
    """
    if facts.event in STOPPED:
        return ()
    if facts.failed is not None and facts.listing is None:
        # An attempt that failed may have failed because an earlier one worked (rule 1).
        return (AskList(),)
    due = _serve(facts) if facts.in_cluster else _enter(facts)
    return (*_announce(facts), *due)


def after(facts: Facts, step: Step, answer: Any = None) -> Facts:
    """Return the facts once `step` is done and was answered as the step's class says."""
    match step:
        case Set(key, value):
            return replace(facts, own={**facts.own, key: value})
        case Delete(key):
            return replace(facts, own={it: facts.own[it] for it in facts.own if it != key})
        case AskList():
            return replace(facts, listing=answer)
        case Wait():
            return replace(facts, listing=answer, done=facts.done | {"wait"})
        case AskLeader():
            return replace(facts, leads=answer, done=facts.done | {"ask-leader"})
        case Bootstrap() if answer:
            return replace(facts, listing=None, entered="bootstrap")
        case Bootstrap():
            return replace(facts, listing=None, failed="bootstrap")
        case Join() if answer:
            return replace(facts, listing=None, entered="join")
        case Join(unit):
            failed = fingerprint(facts.remote_units[unit][PREFIX + facts.hostname])
            return replace(facts, listing=None, failed=failed, tries=_failed_again(facts, failed))
        case Mint():
            minted = {PREFIX + name: token for name, token in answer.items()}
            return replace(facts, own={**facts.own, **minted}, done=facts.done | {"mint"})
        case NoteInCluster():
            return replace(facts, in_cluster=True, failed=None, tries={})
        case Emit(event):
            return replace(facts, done=facts.done | {event})
        case _:
            return replace(facts, said=(step.status, step.message))


def fingerprint(value: str) -> str:
    """Return 8 hexadecimal digits by which values can be compared without showing them.

    FNV-1a of 64 bits over UTF-8, its halves combined with exclusive or.
    """
    digest = 0xCBF29CE484222325
    # A databag can hold half a surrogate pair, which UTF-8 cannot.
    for byte in value.encode(errors="surrogatepass"):
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest >> 32 ^ digest & 0xFFFFFFFF:08x}"


def is_host_name(name: str) -> bool:
    """Return whether microcluster can mint for this name.

    1 to 255 characters; labels of 1 to 63 letters, digits and hyphens with dots between them, no
    hyphen at an end of one, none of digits only (microcluster's own check of `cluster add`).
    """
    label = r"(?!-)(?![0-9]+(?:\.|\Z))[-a-zA-Z0-9]{1,63}(?<!-)"
    return len(name) <= 255 and re.fullmatch(rf"{label}(?:\.{label})*", name) is not None


def is_communicator(listing: Iterable[Member], hostname: str) -> bool:
    """Return whether this member has the lowest name among the online voters (rule 4)."""
    voters = [it.name for it in listing if it.role == "voter" and it.status == "ONLINE"]
    return bool(voters) and min(voters) == hostname


def is_pending(listing: Iterable[Member], hostname: str) -> bool:
    """Return whether the cluster has not given this member a role yet (rule 4)."""
    return any(it.name == hostname and it.role == "PENDING" for it in listing)


def pause(failures: int) -> int:
    """Return the seconds before a token that failed so often is tried again (rule 3)."""
    return min(FIRST_PAUSE << min(max(failures - REFUSALS, 0), 10), LONGEST_PAUSE)


def _announce(facts: Facts) -> list[Step]:
    """Say who this is, and what it cannot join with (rules 1 and 3)."""
    wanted = {"hostname": facts.hostname, "protocol": "2"}
    if facts.in_cluster:
        wanted["member"] = facts.hostname
    elif refused := _refused(facts):
        wanted["refused"] = refused
    steps: list[Step] = [
        Set(key, value) for key, value in wanted.items() if facts.own.get(key) != value
    ]
    if facts.in_cluster and "refused" in facts.own:
        # Of no use any more, and whoever reads the bag could take it for true.
        steps.append(Delete("refused"))
    return steps


def _enter(facts: Facts) -> list[Step]:
    """Get into the cluster (rules 1 to 3)."""
    may_bootstrap, source = _may_bootstrap(facts), _joins_with(facts)
    entered = facts.entered
    if entered is None and facts.listing:
        entered = "bootstrap" if may_bootstrap else "join"
    if entered is not None:
        founded = entered == "bootstrap"
        # Observers of the events ask whether this unit is in the cluster.
        return [
            NoteInCluster(),
            *([Emit("bootstrapped")] if founded else []),
            Emit("joined", bootstrapper=founded),
            Say("active", ""),
        ]
    if facts.failed is not None:
        return [*_refuse(facts), *_say(facts, *_outside(facts))]
    # The mirror says of who lost its note that it is a member.
    is_named = "member" in _shown(facts).get(facts.hostname, ())
    if facts.listing is None and (may_bootstrap or source is not None or is_named):
        return [AskList()]
    if not may_bootstrap and source is None:
        return _say(facts, *_outside(facts))
    if source is not None:
        return [
            *_say(facts, "maintenance", "joining the cluster"),
            Emit("prejoin"),
            Join(source),
        ]
    if "ask-leader" in facts.done:
        return [Bootstrap()]
    # What the charm does before it bootstraps may take longer than the 30 seconds for which Juju
    # promises leadership, so that it is asked again.
    return [
        *_say(facts, "maintenance", "bootstrapping the cluster"),
        Emit("prebootstrap"),
        AskLeader(),
    ]


def _refuse(facts: Facts) -> list[Step]:
    """Emit to the charm once that a token is refused."""
    tried = facts.tries.get(facts.failed or "")
    if tried is None or tried.failures != REFUSALS or "token_refused" in facts.done:
        return []
    return [Emit("token_refused", fingerprint=facts.failed)]


def _outside(facts: Facts) -> tuple[str, str]:
    """Return what to say while this unit is not in the cluster and has nothing to do for it."""
    if facts.failed == "bootstrap":
        return "blocked", "cannot bootstrap the cluster"
    if refused := _refused(facts):
        return "waiting", f"join token {refused} was refused, waiting for another"
    if facts.failed is not None:
        return "waiting", "joining the cluster failed, trying again"
    if not _up_bags(facts):
        return "waiting", "waiting for the token distributor"
    return "waiting", "waiting for a join token"


def _serve(facts: Facts) -> list[Step]:
    """Mint for others as communicator, and delete what no unit needs (rules 4 to 7)."""
    shown = _shown(facts)
    steps = _prune(facts, shown)
    wanting = tuple(sorted(name for name in shown if _wants_token(facts, name, shown[name])))
    says_up = facts.own.get("mirror") == "up"
    if facts.listing is None:
        is_idle = not wanting and not says_up and facts.entered is None
        # Listing asks every member, and all members have this event all the time.
        return steps if facts.event == UPDATE_STATUS and is_idle else [*steps, AskList()]
    if is_pending(facts.listing, facts.hostname):
        return steps if "wait" in facts.done else [*steps, Wait()]
    if is_communicator(facts.listing, facts.hostname):
        if not says_up:
            steps.append(Set("mirror", "up"))
        if wanting and "mint" not in facts.done:
            steps.append(Mint(wanting))
    elif facts.listing and says_up and _all_shown(facts, shown):
        steps.append(Set("mirror", "down"))
    return steps


def _say(facts: Facts, status: str, message: str) -> list[Step]:
    return [] if facts.said == (status, message) else [Say(status, message)]


def _up_bags(facts: Facts) -> list[tuple[str, Mapping[str, str]]]:
    """Return the up units with their bags, by name, so that everybody goes through in one order."""
    return [item for item in sorted(facts.remote_units.items()) if item[1].get("mirror") == "up"]


def _shown(facts: Facts) -> dict[str, list[str]]:
    """Return each name in the mirror with all values that up units show for it."""
    shown: dict[str, list[str]] = {}
    for _, bag in _up_bags(facts):
        for key, value in bag.items():
            if key.startswith(PREFIX):
                shown.setdefault(key[len(PREFIX) :], []).append(value)
    return shown


def _spent(facts: Facts, name: str) -> set[str]:
    """Return fingerprints of tokens of this name that no longer serve, by any up unit's word."""
    bags = (bag for _, bag in _up_bags(facts))
    return {word for bag in bags for word in bag.get(f"spent-{name}", "").split()}


def _is_spent(value: str, spent: set[str]) -> bool:
    return bool(spent) and fingerprint(value) in spent


def _is_token(value: str) -> bool:
    """Return whether a host can join with this value.

    A value that begins with a hyphen would be read as an option of `cluster join`.
    """
    return value not in NOT_TOKENS and not value.startswith("-")


def _may_bootstrap(facts: Facts) -> bool:
    """Return whether this unit has to found the cluster (rule 2)."""
    if not facts.leads or not _up_bags(facts):
        return False
    for bag in facts.remote_units.values():
        # Any value is the sign of a cluster, also in the bag of a unit that is not up.
        if any(key.startswith(PREFIX) and value != EMPTY for key, value in bag.items()):
            return False
    word = facts.remote_app.get("may-bootstrap")
    if word in ("true", "false"):
        return word == "true"
    return facts.remote_app.get("bootstrap-app") == facts.application


def _tokens(facts: Facts) -> list[tuple[str, str]]:
    """Return the up units that show a token for this host, each with its fingerprint."""
    values = ((unit, bag.get(PREFIX + facts.hostname, EMPTY)) for unit, bag in _up_bags(facts))
    return [(unit, fingerprint(value)) for unit, value in values if _is_token(value)]


def _joins_with(facts: Facts) -> str | None:
    """Return the unit whose token is to be tried now, if any (rule 3).

    Of several tokens one that no up unit calls spent, then the one that failed least.
    """
    spent = _spent(facts, facts.hostname)

    def promise(candidate: tuple[str, str]) -> tuple[bool, int, int]:
        tried = facts.tries.get(candidate[1], Try(failures=0, last=0))
        return candidate[1] in spent, tried.failures, tried.last

    best = min(_tokens(facts), key=promise, default=None)
    if best is None:
        return None
    tried = facts.tries.get(best[1])
    if tried is None or tried.failures < REFUSALS:
        return best[0]
    if facts.event != UPDATE_STATUS:
        return None
    # A clock that was set back must not make it wait for longer.
    is_due = not 0 <= facts.now - tried.last < pause(tried.failures)
    return best[0] if is_due else None


def _refused(facts: Facts) -> str | None:
    """Return the fingerprint of the shown token that was last refused (rule 3)."""
    tried = [(facts.tries[it].last, it) for _, it in _tokens(facts) if it in facts.tries]
    refused = [(last, it) for last, it in tried if facts.tries[it].failures >= REFUSALS]
    return max(refused)[1] if refused else None


def _failed_again(facts: Facts, failed: str) -> dict[str, Try]:
    """Return the tries with one more failure, without those of tokens no longer shown."""
    shown = {it for _, it in _tokens(facts)}
    before = facts.tries.get(failed, Try(failures=0, last=0))
    kept = {it: tried for it, tried in facts.tries.items() if it in shown}
    return {**kept, failed: Try(before.failures + 1, facts.now)}


def _wants_token(facts: Facts, name: str, values: Sequence[str]) -> bool:
    """Return whether the communicator has to mint for this name (rule 5)."""
    if not is_host_name(name):
        return False
    spent = _spent(facts, name)
    if any(value != EMPTY and not _is_spent(value, spent) for value in values):
        return False
    own = facts.own.get(PREFIX + name, EMPTY)
    return own == EMPTY or _is_spent(own, spent)


def _all_shown(facts: Facts, shown: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the mirror has a value for each name that this unit has one for (rule 6).

    A spent value is one, too: the communicator that follows replaces it.
    """
    names = (key[len(PREFIX) :] for key in facts.own if key.startswith(PREFIX))
    return all(any(value != EMPTY for value in shown.get(name, ())) for name in names)


def _prune(facts: Facts, shown: Mapping[str, Sequence[str]]) -> list[Step]:
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
        replaced = any(value != EMPTY and not _is_spent(value, spent) for value in values)
        return replaced and _is_spent(own, spent)

    own = sorted((key, value) for key, value in facts.own.items() if key.startswith(PREFIX))
    return [Delete(key) for key, value in own if is_over(key[len(PREFIX) :], value)]


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
    entries: Any = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError("not an array")
    return tuple(_read_member(entry) for entry in cast("list[Any]", entries))


def _read_member(entry: Any) -> Member:
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    words = [cast("dict[str, Any]", entry).get(key) for key in ("name", "role", "status")]
    match words:
        case [str(name), str(role), str(status)]:
            return Member(name, role, status)
        case _:
            raise ValueError("no name, role or status")


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
    read_members: Callable[[str], tuple[Member, ...]] = read_members
    """Reads what `list` printed; raises `ValueError` for what it cannot read."""
    short_limit: float = 30
    """Seconds that `list` and `add` may take. microcluster itself gives a list 30."""
    long_limit: float = 600
    """Seconds that `bootstrap`, `join` and `remove` may take."""
    poll: float = 1
    """Seconds between lists while this member waits for its role."""

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

    def remove(self, name: str) -> None:
        """Take a member out of the cluster."""
        self._run("remove", (*self.remove_arguments, name), self.long_limit)

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
    """The cluster refused this host's join token twice; another one was asked for."""

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
    """Forms a cluster through the token distributor.

    Its class name, its key and `_stored.in_cluster` make up the path under which major version 0
    of the library keeps its note: a charm that is refreshed from it knows that it is in the
    cluster. What that version has deferred waits for methods that are not here, so that ops drops
    it, and the pass of the same dispatch does what is due.

    While the unit is outside the cluster, and when it comes in, the library sets the unit's
    status; then it leaves the status to the charm. In charms that observe `collect_unit_status`,
    what those say wins, and `status` is there to be added.
    """

    on = TokenConsumerEvents()  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    _stored = ops.StoredState()

    def __init__(
        self,
        charm: ops.CharmBase,
        relation_name: str,
        command_name: Sequence[str] | ClusterCommand,
        *,
        hostname: str | None = None,
    ):
        """Observe all that can be a reason to act.

        Args:
            charm: whose unit forms the cluster.
            relation_name: the endpoint of interface `worker-cluster`.
            command_name: what the cluster's command lines begin with, or the command itself.
            hostname: the name under which this machine joins; the kernel's node name by default,
                which microcluster takes.
        """
        super().__init__(charm, relation_name)
        self.relation_name = relation_name
        is_command = isinstance(command_name, ClusterCommand)
        self.cluster = command_name if is_command else ClusterCommand(tuple(command_name))
        self.hostname = hostname or os.uname().nodename
        self.join_args_func: Callable[[], Sequence[str]] = list
        """Returns what follows the token in `cluster join`."""
        self.bootstrap_args_func: Callable[[], Sequence[str]] = list
        """Returns what follows `cluster bootstrap`."""
        self._charm = charm
        self._stored.set_default(in_cluster=False, tries={}, said=["waiting", "not in a cluster"])

        relation = charm.on[relation_name]
        for event in (
            relation.relation_created,
            relation.relation_joined,
            relation.relation_changed,
            relation.relation_departed,
            relation.relation_broken,
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
        """What to show of this library, in any event; active once the unit is in the cluster."""
        if self.in_cluster:
            return ops.ActiveStatus()
        if not self._relations():
            return ops.BlockedStatus(f"needs a relation of endpoint {self.relation_name}")
        status, message = cast("Sequence[str]", self._stored.said)
        return ops.StatusBase.from_name(status, message)

    def _relations(self) -> list[ops.Relation]:
        """Return the relations, oldest first. There are two while one replaces another."""
        relations = self.model.relations[self.relation_name]
        return sorted((it for it in relations if it.active), key=lambda it: it.id)

    def _on_event(self, event: ops.EventBase) -> None:
        kind = event.handle.kind.rpartition("_relation_")[2].replace("_", "-")
        for relation in self._relations():
            try:
                self._pass(relation, kind)
            except _RelationGone:
                # Juju takes bags away before the charm hears of the end: they read as empty, and
                # the first write, which announces the host again, is refused.
                logger.info("%s went away", relation)

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        if self.in_cluster:
            try:
                self.cluster.remove(self.hostname)
            except CommandFailed as error:
                # The last member cannot be removed, and a unit must be able to go.
                logger.warning("cannot leave the cluster: %s", error)

    def _pass(self, relation: ops.Relation, kind: str) -> None:
        """Do what is due until nothing is."""
        facts = self._facts(relation, kind)
        while steps := decide(facts):
            for step in steps:
                logger.debug("%s", step)
                facts = after(facts, step, self._do(step, facts, relation))
        self._stored.tries = {it: [at.failures, at.last] for it, at in facts.tries.items()}

    def _facts(self, relation: ops.Relation, kind: str) -> Facts:
        tries = cast("Mapping[str, Sequence[int]]", self._stored.tries)
        return Facts(
            hostname=self.hostname,
            application=self._charm.app.name,
            event=kind,
            now=int(time.time()),
            leads=not self.in_cluster and self._charm.unit.is_leader(),
            in_cluster=self.in_cluster,
            own=_read(relation, self._charm.unit),
            remote_app=_read(relation, relation.app),
            remote_units={unit.name: _read(relation, unit) for unit in relation.units},
            tries={it: Try(*numbers) for it, numbers in tries.items()},
        )

    def _do(self, step: Step, facts: Facts, relation: ops.Relation) -> Any:
        """Do one step and return its answer."""
        match step:
            case Set(key, value):
                self._write(relation, key, value)
            case Delete(key):
                # Juju deletes a key whose value is empty.
                self._write(relation, key, "")
            case AskList():
                return self._list()
            case Wait():
                return self._wait()
            case AskLeader():
                return self._leads_now()
            case Bootstrap():
                return self._works(lambda: self.cluster.bootstrap(self.bootstrap_args_func()))
            case Join(unit):
                token = facts.remote_units[unit][PREFIX + facts.hostname]
                return self._works(lambda: self.cluster.join(token, self.join_args_func()))
            case Mint(names):
                return self._mint(names, relation)
            case NoteInCluster():
                self._stored.in_cluster = True
                logger.info("in the cluster as %s", self.hostname)
            case Emit():
                self._emit(step)
            case _:
                self._stored.said = [step.status, step.message]
                self._charm.unit.status = ops.StatusBase.from_name(step.status, step.message)

    def _emit(self, step: Emit) -> None:
        match step:
            case Emit("joined", bootstrapper=bootstrapper):
                self.on.joined.emit(bootstrapper=bootstrapper)
            case Emit("token_refused", fingerprint=refused):
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

    def _wait(self) -> tuple[Member, ...]:
        deadline = time.monotonic() + PENDING_LIMIT
        while True:
            time.sleep(self.cluster.poll)
            listing = self._list()
            if not is_pending(listing, self.hostname) or time.monotonic() >= deadline:
                return listing

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
            self._write(relation, PREFIX + name, token)
            minted[name] = token
            logger.info("made a token for %s", name)
            self.on.token_generated.emit()
        return minted

    def _write(self, relation: ops.Relation, key: str, value: str) -> None:
        try:
            relation.data[self._charm.unit][key] = value
        except ops.RelationNotFoundError:
            raise _RelationGone from None


class _RelationGone(Exception):
    """The relation has no bags any more."""


def _read(relation: ops.Relation, owner: ops.Unit | ops.Application | None) -> dict[str, str]:
    """Return a copy of a bag; nothing of an application that Juju does not name."""
    return {} if owner is None else dict(relation.data[owner])
