"""What every dialect calls: submit a job, wait for it, estimate its end, read its progress."""
