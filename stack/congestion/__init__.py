"""Congestion controllers; importing the package registers those that come with the stack."""

from stack.congestion import bbr as bbr
from stack.congestion import cubic as cubic
from stack.congestion import new_reno as new_reno
from stack.congestion import prague as prague
from stack.congestion.controller import (
    CongestionController,
    CongestionOptions,
    check_registered,
    make_controller,
    register,
    registered,
)

__all__ = [
    "CongestionController",
    "CongestionOptions",
    "check_registered",
    "make_controller",
    "register",
    "registered",
]
