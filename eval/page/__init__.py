"""The report as one HTML file: how it looks, and nothing of what it says."""
