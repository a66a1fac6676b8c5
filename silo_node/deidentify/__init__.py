"""De-identification by allow-list: arrays and a few acquisition attributes come through, everything else stays behind.

Nothing is cleaned, because cleaning forgets: of three well-known cleaners none removed every planted marker. What is
kept is listed in :mod:`~silo_node.deidentify.attributes`, ids become keyed hashes in
:mod:`~silo_node.deidentify.pseudonyms`, and :mod:`~silo_node.deidentify.output_check` searches what is about to be
written for the source's own identifiers before a byte of it is kept.
"""
