"""Reproducible experiments: each folder holds a plan and says what it shows."""
