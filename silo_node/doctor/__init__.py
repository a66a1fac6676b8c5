"""Coded checks of a node, each with what to do: what a hospital's IT runs before it calls anybody."""

from silo_node.doctor.examine import examine
from silo_node.doctor.findings import CARDS, Finding
from silo_node.doctor.report import Report, keep_report, last_report

__all__ = ["CARDS", "Finding", "Report", "examine", "keep_report", "last_report"]
