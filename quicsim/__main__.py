"""`python -m quicsim` is the command `quicsim`."""

from quicsim.cli import main

main()
