"""One of each fault a plugin can have. Never published, never imported by choice."""
