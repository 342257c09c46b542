"""The report: one HTML file on a whole campaign, which needs no network and can be mailed."""
