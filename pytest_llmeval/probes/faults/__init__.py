"""A proxy that disturbs what passes: named faults, seeded, several at once.

    with FaultProxy("http://127.0.0.1:8080", "rate_limit:share=0.1", "latency:latency=50") as proxy:
        ask(proxy.url)

`vocabulary.py` names the faults, `parsing.py` reads them, `plan.py` chooses which request each
hits. `proxy.py` passes requests on (`http.py`); of a request that is hit, `toxics.py` disturbs the
bytes, `refusing.py` replies in the server's place, and `replying.py` with `rewriting.py` changes
the real answer. `running.py` keeps all that in a thread.
"""

from .parsing import parse_fault, parse_script
from .proxy import Injected
from .running import FaultProxy
from .vocabulary import KINDS, SELECTORS, Attribute, Fault, Kind

__all__ = [
    "KINDS",
    "SELECTORS",
    "Attribute",
    "Fault",
    "FaultProxy",
    "Injected",
    "Kind",
    "parse_fault",
    "parse_script",
]
