"""One file per step, up and down."""
