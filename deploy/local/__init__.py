"""The whole stack on one machine, from real parts."""
