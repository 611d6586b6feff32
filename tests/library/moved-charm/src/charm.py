"""The charm of the peer relation, moved to the distributor."""

from __future__ import annotations

import subprocess

import ops

from charms.microcluster_token_distributor.v1.token_distributor import TokenConsumer


class MovedCharm(ops.CharmBase):
    """Keeps its peer relation, and makes no tokens by itself any more."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = TokenConsumer(
            charm=self,
            relation_name="cluster",
            command_name=("microovn", "cluster"),
            hostname=subprocess.check_output(["hostname"], text=True).strip(),
        )
        framework.observe(self.on.upgrade_charm, self._on_upgrade_charm)
        framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)

    def _on_upgrade_charm(self, _: ops.UpgradeCharmEvent) -> None:
        self.cluster.adopt()

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(self.cluster.status)


if __name__ == "__main__":
    ops.main(MovedCharm)
