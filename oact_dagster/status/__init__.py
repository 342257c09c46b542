"""How a campaign stands: for the dashboard, the report, the summary and the page."""
