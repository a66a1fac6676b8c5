"""The threat table as tests: each control holds, and the attack succeeds once it is taken away."""
