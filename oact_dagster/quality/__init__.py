"""Quality rules for the results of completed structures."""
