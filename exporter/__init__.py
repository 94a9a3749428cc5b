"""ibkr-exporter: says whether TWS / IB Gateway or the client library is at fault."""

__version__ = "0.1.0"
