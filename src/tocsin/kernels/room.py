"""Room for more slots, with little to spare: many keys must fit."""

import numpy as np


def make_room(rows: np.ndarray, slots: int, empty: np.ndarray | float) -> None:
    """Lengthen an array in place so that it holds so many slots, and a sixteenth more.

    rows: (cap, …), owned by nobody else; views of it must not be kept. empty: what a new row is filled with.
    """
    held = len(rows)
    if slots > held:
        # In place: the system moves pages, not bytes, so that small steps are cheap.
        rows.resize((slots + slots // 16 + 16, *rows.shape[1:]), refcheck=False)
        rows[held:] = empty
