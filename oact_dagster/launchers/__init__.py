"""What runs attempts, and the payload that runs beside ORCA."""
