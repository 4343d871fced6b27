"""The tree kernel against scikit-learn, which grew the trees."""

import numpy as np
from sklearn.ensemble import IsolationForest as Grower

from tocsin.detectors.outlier.iforest import _expected_depth
from tocsin.kernels.trees import isolate_rows


def test_depths_are_scikit_learns_and_parts_make_them_up():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    grower = Grower(n_estimators=10, max_samples=64, random_state=0).fit(x)
    for estimator in grower.estimators_:
        tree = estimator.tree_
        worth = _expected_depth(tree.n_node_samples).astype(np.float32)
        field = np.where(tree.children_left < 0, -1, tree.feature).astype(np.int32)
        depth, parts = np.zeros(40), np.zeros((40, 4), np.float32)
        left, right = tree.children_left.astype(np.int32), tree.children_right.astype(np.int32)
        isolate_rows(x[:40], np.zeros(1, np.int64), field, tree.threshold, left, right, worth, depth, parts)
        leaves = tree.apply(x[:40])
        steps = np.asarray(tree.decision_path(x[:40]).sum(axis=1)).ravel() - 1
        assert np.allclose(depth, steps + worth[leaves])
        assert np.allclose(parts.sum(axis=1), worth[0] - depth, atol=1e-4)
