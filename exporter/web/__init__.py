"""HTTP: the metrics, the pages, the probe endpoint, and the connections behind them."""
