"""A charm that forms its cluster over a peer relation: its leader makes one token at a time."""

from __future__ import annotations

import subprocess

import ops


def cluster(*arguments: str) -> str:
    """Run the cluster's command and return what it prints."""
    return subprocess.check_output(["microovn", "cluster", *arguments], text=True).strip()


class PeerCharm(ops.CharmBase):
    """Knows nothing of the distributor."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        hosts = self.on["hosts"]
        for event in (hosts.relation_created, hosts.relation_joined, hosts.relation_changed):
            framework.observe(event, self._on_hosts)
        framework.observe(self.on.leader_elected, self._on_hosts)
        framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)

    def _on_hosts(self, _: ops.EventBase) -> None:
        hosts = self.model.get_relation("hosts")
        if hosts is None:
            return
        own, tokens = hosts.data[self.unit], hosts.data[self.app]
        own["hostname"] = subprocess.check_output(["hostname"], text=True).strip()
        if "member" not in own:
            token = tokens.get(f"token-{own['hostname']}")
            if token is not None:
                cluster("join", token)
            elif self.unit.is_leader():
                cluster("bootstrap")
            else:
                return
            own["member"] = own["hostname"]
        if not self.unit.is_leader():
            return
        for bag in sorted((hosts.data[unit] for unit in hosts.units), key=lambda it: str(dict(it))):
            name = bag.get("hostname")
            if name is None or "member" in bag:
                continue
            if f"token-{name}" not in tokens:
                tokens[f"token-{name}"] = cluster("add", name)
            return

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(ops.ActiveStatus())


if __name__ == "__main__":
    ops.main(PeerCharm)
