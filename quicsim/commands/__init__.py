"""The commands of `quicsim` for real networks, one file each; `quicsim/cli.py` puts them together."""
