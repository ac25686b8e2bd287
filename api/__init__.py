"""HTTP in and out; knows no pixels."""
