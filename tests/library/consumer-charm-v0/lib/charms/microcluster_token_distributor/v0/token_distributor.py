"""A stand-in for major version 0 of the library, with the traces that it leaves.

It is written for the tests of a refresh, from what that version was seen to do: which methods of
which object observe and defer, what it remembers under which path, and which keys it writes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

import ops

PREFIX = "mirror-"
EMPTY = "empty"


class TokenConsumer(ops.Object):
    """Joins, mints and defers as the consumer of the first protocol does."""

    _stored = ops.StoredState()

    def __init__(self, charm: ops.CharmBase, relation_name: str, command_name: Sequence[str]):
        super().__init__(charm, relation_name)
        self._charm = charm
        self._command = command_name
        self._hostname = subprocess.check_output(["hostname"], text=True).strip()
        self._stored.set_default(in_cluster=False)
        relation = charm.on[relation_name]
        self.framework.observe(relation.relation_joined, self._handle_relation_joined)
        self.framework.observe(relation.relation_changed, self._on_cluster_changed)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._command, *arguments], capture_output=True, text=True)

    def _up(self, relation: ops.Relation) -> list[dict[str, str]]:
        bags = [dict(relation.data[unit]) for unit in relation.units]
        return [bag for bag in bags if bag.get("mirror") == "up"]

    def _handle_relation_joined(self, event: ops.RelationJoinedEvent) -> None:
        relation = event.relation
        if not self._up(relation):
            event.defer()
        word = dict(relation.data[relation.app])
        if word and "bootstrap-app" not in word:
            event.defer()
        relation.data[self._charm.unit]["hostname"] = self._hostname
        bags = [relation.data[unit] for unit in relation.units]
        values = [bag[key] for bag in bags for key in bag if key.startswith(PREFIX)]
        is_allowed = word.get("bootstrap-app") == self._charm.app.name
        if self._stored.in_cluster or not is_allowed or not self._charm.unit.is_leader():
            return
        if any(value != EMPTY for value in values):
            return
        if self._run("bootstrap").returncode != 0:
            event.defer()
            return
        self._stored.in_cluster = True
        self._tend(relation)

    def _on_cluster_changed(self, event: ops.RelationChangedEvent) -> None:
        if not self._stored.in_cluster:
            key = PREFIX + self._hostname
            shown = [bag.get(key, EMPTY) for bag in self._up(event.relation)]
            tokens = [value for value in shown if value != EMPTY]
            if not tokens:
                return
            if self._run("join", tokens[0]).returncode != 0:
                event.defer()
                return
            self._stored.in_cluster = True
        self._tend(event.relation)

    def _tend(self, relation: ops.Relation) -> None:
        """Be the communicator, or cease to be."""
        listing = self._run("list", "-f", "json")
        members = json.loads(listing.stdout) if listing.returncode == 0 else []
        while any(it["role"] == "PENDING" for it in members):
            members = json.loads(self._run("list", "-f", "json").stdout)
        voters = [it["name"] for it in members if it["role"] == "voter"]
        own = relation.data[self._charm.unit]
        if not voters or min(voters) != self._hostname:
            if "mirror" in own:
                own["mirror"] = "down"
            return
        own["mirror"] = "up"
        for bag in self._up(relation):
            for key, value in bag.items():
                if key.startswith(PREFIX) and value == EMPTY and key not in own:
                    added = self._run("add", key[len(PREFIX) :])
                    if added.returncode == 0:
                        own[key] = added.stdout.strip()
