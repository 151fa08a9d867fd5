"""The sections of the report: what the records answer, one question a file."""
