"""The researcher's side of the hub: a Python SDK and the ``medsilo`` command. No Flask, and no torch at import.

::

    from federation_hub.client import Hub

    hub = Hub("https://hub.example.org", token)
    hub.leaderboard_frame("chest_phantom")
"""

from federation_hub.client.hub import Hub

__all__ = ["Hub"]
