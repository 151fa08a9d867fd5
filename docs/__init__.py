"""The documentation that is written from the code, and what writes and checks it."""
