"""The admin API: exposes the use cases in `common.operations` over HTTP, one file per resource."""
