"""Four small text tools: the template to copy for a package of your own."""
