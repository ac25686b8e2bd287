"""A worker with its default engine: real pipelines with small random weights."""

import json
from io import BytesIO

from PIL import Image
from types_boto3_s3 import S3Client

from common.settings import StorageSettings
from tests.integration.dispatcher.program import running
from tests.integration.worker.harness.worker_harness import WorkerHarness
from tests.integration.worker.lifecycle.test_process import assert_clean_exit

MODEL = "standin-inpainting"
# Longer than a text encoder reads: libraries log the part they left out.
PROMPT = "a cat that no log may contain, " * 30


async def test_a_real_model_generates_an_image(
    harness: WorkerHarness,
    environment: dict[str, str],
    s3_client: S3Client,
    bucket: StorageSettings,
) -> None:
    shipped = ("INFILL_MODELS_FILE", "INFILL_WORKER_ENGINE")
    settings = {name: value for name, value in environment.items() if name not in shipped}
    settings["INFILL_MODELS_SERVE"] = f'["{MODEL}"]'
    job_id = await harness.queue_inpaint(
        asked={"model": MODEL, "prompt": PROMPT, "inference_steps": 2}
    )
    async with running(settings, "worker") as program:
        assert (await program.wait_for_event("model_loaded"))["model"] == MODEL
        await program.wait_for_event("job_succeeded")
        program.process.terminate()
        await assert_clean_exit(program, harness)
    job = await harness.tenant.read_job(job_id)
    key, _other = job["result"]["object_keys"]
    stored = s3_client.get_object(Bucket=bucket.bucket, Key=key)["Body"].read()
    assert Image.open(BytesIO(stored)).size == (64, 64)
    assert await harness.count_records(job_id) == (1, 1)
    assert "no log may contain" not in json.dumps(program.lines)
