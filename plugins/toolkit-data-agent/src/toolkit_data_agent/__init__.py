"""An agent that answers questions about a user's own tables, and shows its SQL."""
