"""The decoder program: `python -m worker.engine.image_sandbox.process FD MEMORY CPU`.

FD is the file descriptor of its end of a socket pair, MEMORY its memory limit in bytes, and CPU its
limit of CPU seconds per image. The program is started by `worker.engine.image_sandbox.decoder` and
ends when the worker closes the socket.
"""

import socket
import sys
from collections.abc import Callable

# Pillow would import these when it meets the first image that needs them, when this process cannot
# open files any more.
from PIL import (
    Image,
    ImageColor,  # noqa: F401
    ImagePalette,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    MpoImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401 - EXIF is TIFF
    WebPImagePlugin,  # noqa: F401
)

from common.domain.errors import InvalidImageError
from worker.engine.image_sandbox.confinement import allow_cpu, confine
from worker.engine.image_sandbox.wire import MAX_BODY, Connection, DecodeRequest
from worker.engine.images.decode import TOO_MUCH_MEMORY
from worker.engine.images.inputs import Size, read_image

Read = Callable[[bytes, str, Size], Image.Image]

# A codec's message may quote the image; a longer excerpt does not help.
MAX_DETAIL = 500


def main(read: Read = read_image) -> None:
    """Confine this process, then decode images with `read` until the worker closes the socket."""
    descriptor, memory_bytes, cpu_seconds = (int(word) for word in sys.argv[1:])
    connection = Connection(socket.socket(fileno=descriptor))
    Image.preinit()  # imports modules, as above
    confine(memory_bytes)
    try:
        while True:
            head, data = connection.receive(MAX_BODY)
            allow_cpu(cpu_seconds)
            respond(connection, DecodeRequest(**head), bytes(data), read)
    except (EOFError, ConnectionError):
        pass  # the worker closed the socket or has ended


def respond(
    connection: Connection, request: DecodeRequest, data: bytes, read: Read = read_image
) -> None:
    """Decode the image in `data` with `read`; send the worker its pixels or an error message."""
    try:
        image = read(data, request.field, (request.width, request.height))
        pixels = image.tobytes()
    except InvalidImageError as error:
        connection.send({"error": error.message, "detail": error.detail[:MAX_DETAIL]})
    except MemoryError:
        connection.send({"error": f"{request.field}: {TOO_MUCH_MEMORY}"})
    else:
        connection.send({}, pixels)


if __name__ == "__main__":
    main()
