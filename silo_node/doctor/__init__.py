"""Coded checks of a node, each with what to do: what a hospital's IT runs before it calls anybody."""

from silo_node.doctor.checks import examine
from silo_node.doctor.findings import Finding

__all__ = ["Finding", "examine"]
