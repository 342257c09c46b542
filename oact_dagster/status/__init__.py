"""The state of a campaign, for the dashboard, the report, the summary and the web page."""
