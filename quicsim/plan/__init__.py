"""Plans: TOML files that say what a run consists of."""

from quicsim.plan.actions import ActionPlan, MigratePlan, RebindPlan
from quicsim.plan.elements import ElementPlan, parse_elements
from quicsim.plan.errors import PlanError
from quicsim.plan.load import load_plan, parse_plan
from quicsim.plan.model import ApplicationPlan, CapturePlan, HostPlan, LinkPlan, NatPlan, Plan
from quicsim.plan.network import build_network
from quicsim.plan.sweep import SweepRun, sweep_runs
from quicsim.plan.traffic import TrafficPlan

__all__ = [
    "ActionPlan",
    "ApplicationPlan",
    "CapturePlan",
    "ElementPlan",
    "HostPlan",
    "LinkPlan",
    "MigratePlan",
    "NatPlan",
    "Plan",
    "PlanError",
    "RebindPlan",
    "SweepRun",
    "TrafficPlan",
    "build_network",
    "load_plan",
    "parse_elements",
    "parse_plan",
    "sweep_runs",
]
