"""A package to walk: everything in it imports, and nearly nothing in it is a tool."""
