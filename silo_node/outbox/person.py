"""Who sits at the keyboard: the account of this machine that a release is noted under.

Not the ``LOGNAME`` variable, which anybody sets. Where several people act as the node's own account through ``sudo``,
the account they came from counts; two people need two accounts.
"""

import os
import pwd


def current_person() -> str:
    """Return the account name of the person who runs this command."""
    came_from = os.environ.get("SUDO_UID", "")
    for uid in ([int(came_from)] if came_from.isdecimal() else []) + [os.getuid()]:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            continue
    return f"uid {os.getuid()}"
