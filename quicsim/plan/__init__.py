"""Plans: TOML files that say what a run consists of."""

from quicsim.plan.errors import PlanError
from quicsim.plan.load import load_plan, parse_plan
from quicsim.plan.model import ApplicationPlan, CapturePlan, HostPlan, LinkPlan, Plan

__all__ = [
    "ApplicationPlan",
    "CapturePlan",
    "HostPlan",
    "LinkPlan",
    "Plan",
    "PlanError",
    "load_plan",
    "parse_plan",
]
