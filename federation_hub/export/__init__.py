"""The whole public site as files, so that a leaderboard outlives its hub."""
