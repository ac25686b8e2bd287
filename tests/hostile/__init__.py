"""What an attacker would send: one table of cases, and the hostile servers that act them out.

`cases.py` gathers the table: the input, where it has to be refused, and why.
"""
