"""What is kept of each target, and how a report, a watch event or a client probe changes it. Pure."""
