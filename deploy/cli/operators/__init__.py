"""The operator's face at the command line: every use-case of `common.operations`."""
