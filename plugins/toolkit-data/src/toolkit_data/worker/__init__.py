"""What runs in the worker process: standard library and duckdb only.

One process per call. It reads one request from its standard input, writes one reply to
its standard output, and ends. See `toolkit_data.sandbox` for the other side.
"""
