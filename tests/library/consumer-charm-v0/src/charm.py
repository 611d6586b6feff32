"""The example charm before its refresh: a stand-in with what major version 0 leaves behind."""

from __future__ import annotations

import ops
from charms.microcluster_token_distributor.v0.token_distributor import TokenConsumer


class ConsumerCharm(ops.CharmBase):
    """Of the same name as the charm that replaces it, as a refreshed charm is."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = TokenConsumer(self, "cluster", ["microovn", "cluster"])


if __name__ == "__main__":
    ops.main(ConsumerCharm)
