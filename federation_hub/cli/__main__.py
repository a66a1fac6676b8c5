"""``python -m federation_hub.cli``."""

from federation_hub.cli import main

main()
