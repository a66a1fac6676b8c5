"""De-identified DICOM files for a site that wants files, in a folder of the site's own. They never go to the hub."""
