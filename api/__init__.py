"""The HTTP gateway: records requests as jobs and returns their results; never loads torch."""
