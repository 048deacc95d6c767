"""Which normative sentences of the QUIC RFCs the code names, which of them tests show to hold, and which are open."""

from quicsim.requirements.index import Index, Requirement, RequirementsError
from quicsim.requirements.report import Report
from quicsim.requirements.results import Results
from quicsim.requirements.sources import ids_in_code

__all__ = ["Index", "Report", "Requirement", "RequirementsError", "Results", "ids_in_code"]
