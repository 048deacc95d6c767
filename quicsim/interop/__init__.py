"""The interop runner's test cases, between any two implementations that are installed here."""
