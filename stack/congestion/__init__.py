"""Congestion controllers; importing the package registers those that come with the stack."""

from stack.congestion import new_reno as new_reno
from stack.congestion.controller import CongestionController, check_registered, make_controller, register

__all__ = ["CongestionController", "check_registered", "make_controller", "register"]
