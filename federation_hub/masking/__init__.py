"""The hub's part in secure aggregation: relaying what it cannot read, counting who is still there, opening sums."""
