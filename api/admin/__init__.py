"""The admin API: every use case of `common.operations` over HTTP, one file per resource."""
