"""Submitted models: bundles judged statically, never run here, and named by their digest for ever."""
