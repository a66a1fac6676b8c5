"""The console: a site's own pages, on this machine's 127.0.0.1 only.

What you hold, what is asked of you, what is running, what left, what you refuse, and whether all is well. It is a
process of its own beside the node, reads the same state folder, and decides through the same functions as the commands.
Only this package imports Flask.
"""
