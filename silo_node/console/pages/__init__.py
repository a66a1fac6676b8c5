"""The console's pages, one module each: a blueprint and the few lines that gather what its template shows."""
