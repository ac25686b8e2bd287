"""`python -m tests.hostile`: print the table."""

import sys

from tests.hostile.cases import TABLE, shown

sys.stdout.write("| input | refused | why |\n|---|---|---|\n")
sys.stdout.writelines(f"{shown(case)}\n" for case in TABLE)
