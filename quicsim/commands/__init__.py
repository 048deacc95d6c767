"""The commands of `quicsim` that speak to other machines, one file each; `quicsim/cli.py` puts them together."""
