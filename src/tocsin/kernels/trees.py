"""Trees kept as arrays: how deep a row falls, and which fields made it fall."""

import numpy as np

from tocsin.kernels.compiler import kernel


@kernel
def isolate_rows(places, roots, field, threshold, left, right, worth, depth, parts):
    """Drop each row through every tree and add up how much earlier than expected its fields set it apart.

    Each node has a worth, the expected number of further splits; a split on field j that takes a row from a node to its
    child adds worth(node) - 1 - worth(child) to part j, so that the parts of a row sum to worth(root) - depth.

    places: (n, d) float32. roots: (t,) int64. field, left, right: (nodes,) int32, field -1 at leaves.
    threshold: (nodes,) float64; left where place ≤ threshold. worth: (nodes,) float32.
    depth: (n,) float64 and parts: (n, d) float32, both added to.
    """
    for i in range(places.shape[0]):
        for t in range(roots.size):
            node = roots[t]
            steps = 0
            while field[node] >= 0:
                j = field[node]
                child = left[node] if places[i, j] <= threshold[node] else right[node]
                parts[i, j] += worth[node] - np.float32(1) - worth[child]
                node = child
                steps += 1
            depth[i] += steps + worth[node]
