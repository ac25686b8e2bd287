"""Attacks on the outbound guard: one table of cases, and the hostile servers that perform them.

`cases.py` joins the tables: the input, where it has to be rejected, and why.
"""
