"""Tools over a user's own data files: list, describe, profile, query.

The tools are in `toolkit_data.tools`. Nothing is imported here, because the worker
process that runs the SQL starts by importing this package and should start fast.
"""
