"""Link models: pipelines of small elements, one impairment each. They know datagrams and time, not QUIC."""

from links.bucket import Policer, TokenBucket
from links.burstyloss import LossCapped, LossCorrelated
from links.codel import CoDel
from links.corrupt import Corrupt
from links.datagram import Address, Datagram
from links.delay import Delay
from links.dualpi2 import DualPi2
from links.duplicate import Duplicate
from links.ecn import EcnMark, EcnMarkRandom, EcnRemark
from links.element import DROPPED, HELD, Element, Queue, Randomness, Schedule, Server
from links.fqcodel import FqCoDel
from links.gilbertelliott import GilbertElliott
from links.holdingqueue import DropHead, HoldingQueue
from links.jitter import Jitter
from links.loss import Loss, LossBitErrors, LossEvery, LossIf, LossNth, LossPattern
from links.markovloss import LossMarkov
from links.mtu import Mtu
from links.nat import Nat
from links.outage import Blackout, Outages, Suspension
from links.pie import Pie
from links.pipeline import Pipeline
from links.rate import Rate
from links.rateschedule import RateSchedule
from links.red import Red
from links.reorder import Reorder, ReorderDepth
from links.slots import Slots
from links.taildrop import TailDrop
from links.tap import Tap
from links.trace import Trace
from links.variabledelay import VariableDelay
from links.watch import Watcher

__all__ = [
    "DROPPED",
    "HELD",
    "Address",
    "Blackout",
    "CoDel",
    "Corrupt",
    "Datagram",
    "Delay",
    "DropHead",
    "DualPi2",
    "Duplicate",
    "EcnMark",
    "EcnMarkRandom",
    "EcnRemark",
    "Element",
    "FqCoDel",
    "GilbertElliott",
    "HoldingQueue",
    "Jitter",
    "Loss",
    "LossBitErrors",
    "LossCapped",
    "LossCorrelated",
    "LossEvery",
    "LossIf",
    "LossMarkov",
    "LossNth",
    "LossPattern",
    "Mtu",
    "Nat",
    "Outages",
    "Pie",
    "Pipeline",
    "Policer",
    "Queue",
    "Randomness",
    "Rate",
    "RateSchedule",
    "Red",
    "Reorder",
    "ReorderDepth",
    "Schedule",
    "Server",
    "Slots",
    "Suspension",
    "TailDrop",
    "Tap",
    "TokenBucket",
    "Trace",
    "VariableDelay",
    "Watcher",
]
