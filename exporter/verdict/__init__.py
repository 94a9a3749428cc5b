"""From a report to one verdict, its evidence and its actions. Pure."""
