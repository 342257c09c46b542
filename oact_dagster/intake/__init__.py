"""Intake: from a CSV to the rows of a ledger, and what never changes in a campaign."""
