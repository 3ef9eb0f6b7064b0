"""An agent that answers questions about cloud costs, and ranks what to save."""
