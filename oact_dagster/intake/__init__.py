"""From a CSV to the rows of a ledger, and what stays the same over the life of a campaign."""
