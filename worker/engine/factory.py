"""The engine a worker uses unless told otherwise (`INFILL_WORKER_ENGINE`)."""

from common.settings import Settings
from common.settings.catalogue import Catalogue
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.interface import Engine


def create_engine(settings: Settings, catalogue: Catalogue) -> Engine:
    """Make the diffusers engine and load what fits, so that the first job finds it warm.

    Raises:
        ConfigurationError: a model cannot be loaded, or torch knows no such device.
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
