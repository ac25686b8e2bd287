"""The operator's face over HTTP: every use-case of `common.operations`."""
