"""Studies without an aggregator: the hub passes on what silos have sealed for each other, and can read none of it."""
