"""Models that run whole, behind the same engine: equal requests go together."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.domain.errors import GenerationError, GenerationStoppedError
from common.domain.generation import Endpoint, GenerationRequest
from tests.unit.worker.engine.batching.harness import Looker, decibels
from tests.unit.worker.engine.conftest import an_entry
from tests.unit.worker.engine.drawings import drawn, generated
from tests.unit.worker.engine.other_models import saved_sd3
from tests.unit.worker.engine.sample_images import a_request
from worker.engine.diffusers_engine import DiffusersEngine
from worker.engine.interface import GenerationCallback, GenerationResult, Progress
from worker.engine.models.stand_in import stand_in_folder

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

DEADLINE_SECONDS = 30.0
REQUEST = a_request(Endpoint.INPAINT, model="sd3", inference_steps=3, strength=1.0)


@pytest.fixture(scope="module")
def whole(
    models_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DiffusersEngine]:
    folder = saved_sd3(
        stand_in_folder("base", models_directory), tmp_path_factory.mktemp("gathered")
    )
    engine = DiffusersEngine([an_entry("sd3", str(folder), *Endpoint)], models_directory, "cpu")
    drawn(engine, REQUEST)  # so that it is known what one takes
    yield engine
    engine.close()


@contextmanager
def rows_of(engine: DiffusersEngine) -> Iterator[list[int]]:
    """The rows of each call of the denoising network."""
    rows: list[int] = []

    def before(_network: object, _inputs: object, given: dict[str, torch.Tensor]) -> None:
        rows.append(len(given["hidden_states"]))

    with engine._shelf.borrow("sd3") as model:
        hook = model.parts["transformer"].register_forward_pre_hook(before, with_kwargs=True)
        yield rows
        hook.remove()


@contextmanager
def held_up(engine: DiffusersEngine) -> Iterator[ThreadPoolExecutor]:
    """The device is busy until the block ends; what is asked meanwhile gathers."""
    holds, go = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        assert go.wait(DEADLINE_SECONDS)

    with ThreadPoolExecutor(8) as threads:
        threads.submit(engine._loop.do, hold)
        assert holds.wait(DEADLINE_SECONDS)
        yield threads
        go.set()


def asked(
    threads: ThreadPoolExecutor,
    engine: DiffusersEngine,
    request: GenerationRequest,
    watch: GenerationCallback,
    *,
    behind: int,
) -> Future[GenerationResult]:
    """Ask from another thread, and wait until so many are in the engine's inbox."""
    answer = threads.submit(generated, engine, request, watch)
    waiting = threading.Event()
    while engine._loop._inbox.qsize() < behind and not answer.done():
        waiting.wait(0.01)
    return answer


def test_equal_requests_go_together_and_give_what_they_give_alone(whole: DiffusersEngine) -> None:
    requests = [replace(REQUEST, seed=seed) for seed in (1, 2)]
    alone = [drawn(whole, request) for request in requests]
    lookers = [Looker(), Looker()]
    with rows_of(whole) as rows, held_up(whole) as threads:
        answers = [
            asked(threads, whole, request, looker, behind=number)
            for number, (request, looker) in enumerate(zip(requests, lookers, strict=True), start=1)
        ]
    assert rows == [4] * 3  # two halves each, three steps
    for answer, expected, looker in zip(answers, alone, lookers, strict=True):
        result = answer.result(DEADLINE_SECONDS)
        assert decibels(result.images[0], expected) > 45
        assert result.engine_seconds <= 0.5 * result.seconds
        assert [(told.step, told.steps) for told in looker.seen] == [(1, 3), (2, 3), (3, 3)]


def test_others_do_not_wait_for_one_that_is_stopped(whole: DiffusersEngine) -> None:
    stopped = Looker(stops=True)
    with held_up(whole) as threads:
        one = asked(threads, whole, REQUEST, stopped, behind=1)
        other = asked(threads, whole, REQUEST, Looker(), behind=2)
    assert one.exception(DEADLINE_SECONDS)
    with pytest.raises(GenerationStoppedError):
        one.result(DEADLINE_SECONDS)
    assert other.result(DEADLINE_SECONDS).images


def test_whoever_waits_or_is_in_the_run_is_answered_at_its_next_step(
    whole: DiffusersEngine,
) -> None:
    """A run may take minutes, and a worker takes an engine for stuck that does not let go."""
    leaves, waits = Looker(), Looker()
    answers: list[Future[GenerationResult]] = []
    answered: list[bool] = []

    class Runs(Looker):
        def progressed(self, progress: Progress) -> None:
            if progress.step == 1:
                leaves.stops = waits.stops = True
            if progress.step == 3:  # they have been asked; the run is not over
                answered.append(not wait(answers, DEADLINE_SECONDS).not_done)

    with held_up(whole) as threads:
        stays = asked(threads, whole, REQUEST, Runs(), behind=1)
        answers.append(asked(threads, whole, REQUEST, leaves, behind=2))
        other = replace(REQUEST, guidance_scale=3.0)
        answers.append(asked(threads, whole, other, waits, behind=3))
    assert stays.result(DEADLINE_SECONDS).images
    for answer in answers:
        with pytest.raises(GenerationStoppedError):
            answer.result(DEADLINE_SECONDS)
    assert answered == [True]


def test_all_of_them_stopped(whole: DiffusersEngine) -> None:
    with pytest.raises(GenerationStoppedError):
        generated(whole, REQUEST, Looker(stops=True))


def test_whoever_looks_on_may_fail(whole: DiffusersEngine) -> None:
    class Blind(Looker):
        def should_stop(self) -> bool:
            raise ZeroDivisionError("blind")

    with pytest.raises(GenerationError) as failed:
        generated(whole, REQUEST, Blind())
    assert "blind" in failed.value.detail
