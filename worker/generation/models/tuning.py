"""t"""

from worker.generation.models.loaded import LoadedModel


def tune(model: LoadedModel) -> None: ...
