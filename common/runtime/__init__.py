"""What every process needs: clock, logs, metrics, probes, threads."""
