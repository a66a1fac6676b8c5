"""``python -m federation_hub.client.cli``."""

from federation_hub.client.cli import main

main()
