"""What this site's patients have been promised, and how much of it is spent."""
