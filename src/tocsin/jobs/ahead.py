"""Reading ahead: the next items are made on a thread while the last one is still worked on."""

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_END = object()
_LOOK_S = 0.1


def read_ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items in order, with up to `depth` of them waiting; what making them raises is raised here.

    When the consumer leaves early, the thread stops after the item it is making.
    """
    waiting: Queue[object] = Queue(depth)
    left = threading.Event()
    failure: list[BaseException] = []

    def make() -> None:
        try:
            for item in items:
                if not _offer(waiting, item, left):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the consumer, below
            failure.append(error)
        _offer(waiting, _END, left)

    maker = threading.Thread(target=make, name="read ahead", daemon=True)
    maker.start()
    try:
        while (item := waiting.get()) is not _END:
            yield item  # type: ignore[misc]
    finally:
        left.set()
        _drain(waiting)
        maker.join()
    if failure:
        raise failure[0]


def _offer(waiting: "Queue[object]", item: object, left: threading.Event) -> bool:
    """Wait for a place; False when the consumer has left."""
    while not left.is_set():
        try:
            waiting.put(item, timeout=_LOOK_S)
        except Full:
            continue
        return True
    return False


def _drain(waiting: "Queue[object]") -> None:
    while True:
        try:
            waiting.get_nowait()
        except Empty:
            return
