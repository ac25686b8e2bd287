"""Create the engine that a worker uses unless `INFILL_WORKER_ENGINE` names another."""

from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.interface import Engine


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    """Return a `DiffusersEngine` for the settings, with the models that fit into memory loaded.

    Raises:
        ConfigurationError: a model cannot be loaded, or torch does not know the device.
    """
    engine = DiffusersEngine(
        catalogue.entries,
        settings.models.directory,
        settings.worker.device,
        settings.worker.model_memory_gb,
        max_batch=settings.worker.max_batch,
    )
    engine.load()
    return engine
