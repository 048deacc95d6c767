#!/bin/bash
# The base image's script sets up the routes through the simulated network.
set -e
/setup.sh
if [ "$ROLE" = "client" ]; then
    /wait-for-it.sh sim:57832 -s -t 30
fi
exec /venv/bin/python -m quicsim.interop.endpoint
