"""What leaves the site: the gate every byte passes, the log of it, and results that wait for a person."""
