"""The operators' commands, one for every use case in `common.operations`."""
