"""Entry points and modules → catalog. The only code that imports plugins."""
