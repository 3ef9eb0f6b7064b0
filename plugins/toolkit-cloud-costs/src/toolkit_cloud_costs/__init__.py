"""Tools over cloud billing exports in the FOCUS format.

Where a newcomer reads: `tools` (what a user calls) → `source` (which export) →
`ledger` (how it becomes a table) → `spend`, `tags`, `commitments`, `anomalies` (the
questions) → `rules` and `savings` (the report).
"""
