"""The loop that asks the hub for work, judges it, runs it in the jail, and answers through the outbox.

One module a kind of task; what they share is a claim (a task under lease), the journal, and the outbox.
"""
