"""PACS: being sent objects (C-STORE), asking for them (C-FIND and C-MOVE), and fetching them over HTTP (DICOMweb)."""
