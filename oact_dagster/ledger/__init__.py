"""The job ledger: the truth about every structure."""
