"""Leaderboards: immutable snapshots computed from accepted estimate blocks, and the pages that show them."""
