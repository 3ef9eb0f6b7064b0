"""An agent that hands a message to the agent that fits, and says why."""
