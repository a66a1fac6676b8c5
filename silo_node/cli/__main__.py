"""``python -m silo_node.cli`` is ``silo-node``."""

from silo_node.cli import main

main()
